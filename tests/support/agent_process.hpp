#ifndef HF_SANDBOX_TESTS_SUPPORT_AGENT_PROCESS_HPP
#define HF_SANDBOX_TESTS_SUPPORT_AGENT_PROCESS_HPP

#include "support/raw_http.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace hf::testing_support {

/// How a test wants its agent.
struct agent_options {
  /// TCP on a free loopback port instead of a unix socket.
  bool tcp = false;
  /// `SBX_TOKEN`; empty: not set.
  std::string token = "0123456789abcdef-test-token";
  /// Further variables; an empty value here still sets the variable.
  std::map<std::string, std::string> env = {};
  std::vector<std::string> flags = {};
  /// Working directory; empty: the agent's own scratch directory.
  std::string cwd = {};
  /// Words before the agent's path ("qemu-aarch64-static", "setpriv", ...).
  std::vector<std::string> prefix = {};
  /// The binary; empty: what the environment variable HF_SANDBOX_AGENT names.
  std::string binary = {};
  /// Whether to wait until `/health` answers; otherwise the test watches the start itself.
  bool wait_until_healthy = true;
};

/// The built agent as a child process with a scratch directory of its own; ended by the destructor.
class agent_process {
 public:
  explicit agent_process(agent_options options = {}) : options_(std::move(options)) {
    if (options_.binary.empty()) {
      char const* const named = std::getenv("HF_SANDBOX_AGENT");
      if (named == nullptr)
        throw std::runtime_error("HF_SANDBOX_AGENT does not name the agent");
      options_.binary = named;
    }
    char pattern[] = "/tmp/hf-agent-test-XXXXXX";
    if (::mkdtemp(pattern) == nullptr)
      throw std::runtime_error("mkdtemp failed");
    directory_ = pattern;
    start();
    if (options_.wait_until_healthy)
      wait_until_healthy();
  }
  agent_process(agent_process const&) = delete;
  agent_process& operator=(agent_process const&) = delete;

  ~agent_process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      auto status = wait_exit(std::chrono::seconds(10));
      if (!status) {
        ::kill(pid_, SIGKILL);
        status = wait_exit(std::chrono::seconds(10));
      }
      bool const expected =
          status && ((WIFEXITED(*status) && WEXITSTATUS(*status) == 0) || killed_by_test_);
      if (!expected)
        std::fprintf(stderr, "the agent ended with status %d; its log:\n%s\n",
                     status ? *status : -1, log().c_str());
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string const& token() const { return options_.token; }
  /// The unix socket's path; empty on TCP.
  [[nodiscard]] std::string socket_path() const {
    return options_.tcp ? std::string() : directory_ + "/agent.sock";
  }
  /// The loopback port; 0 on a unix socket.
  [[nodiscard]] int port() const { return port_; }
  /// A scratch directory, removed with the agent.
  [[nodiscard]] std::string const& directory() const { return directory_; }

  /// What the agent has printed to its standard error.
  [[nodiscard]] std::string log() const {
    std::ifstream in(directory_ + "/agent.log", std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  /// A new connection to the agent.
  [[nodiscard]] raw_http connect() const {
    return options_.tcp ? raw_http::tcp(port_) : raw_http::unix_socket(socket_path());
  }

  /// One authorised request on a connection of its own.
  [[nodiscard]] http_answer request(std::string_view method, std::string_view target,
                                    std::string_view body = {}, header_list fields = {}) const {
    raw_http connection = connect();
    connection.send_request(method, target, options_.token, body, std::move(fields));
    return connection.read_answer(method == "HEAD");
  }

  void signal(int number) {
    if (number == SIGKILL)
      killed_by_test_ = true;
    ::kill(pid_, number);
  }

  /// The wait status once the agent has ended; nothing when it has not in time.
  std::optional<int> wait_exit(std::chrono::milliseconds limit) {
    if (pid_ <= 0)
      return status_;
    auto const until = std::chrono::steady_clock::now() + limit;
    for (;;) {
      int status = 0;
      pid_t const r = ::waitpid(pid_, &status, WNOHANG);
      if (r == pid_) {
        pid_ = -1;
        status_ = status;
        return status_;
      }
      if (r < 0 && errno != EINTR)
        return std::nullopt;
      if (std::chrono::steady_clock::now() >= until)
        return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  /// Returns once `/health` answers 200; throws with the agent's log otherwise.
  void wait_until_healthy() {
    auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      if (wait_exit(std::chrono::milliseconds(0)))
        throw std::runtime_error("the agent ended at start:\n" + log());
      if (options_.tcp && port_ == 0)
        find_port();
      if (!options_.tcp || port_ != 0) {
        try {
          raw_http connection = connect();
          connection.send("GET /health HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
          if (connection.read_answer().status == 200)
            return;
        } catch (std::exception const&) {
        }
      }
      if (std::chrono::steady_clock::now() >= until)
        throw std::runtime_error("the agent does not answer:\n" + log());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

 private:
  void start() {
    std::vector<std::string> words = options_.prefix;
    words.push_back(options_.binary);
    words.insert(words.end(), options_.flags.begin(), options_.flags.end());
    std::vector<std::string> variables;
    auto const keep = [&](char const* name) {
      if (char const* value = std::getenv(name); value != nullptr && !options_.env.count(name))
        variables.push_back(std::string(name) + "=" + value);
    };
    for (char const* name : {"PATH", "HOME", "LANG", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                             "TSAN_OPTIONS", "LSAN_OPTIONS"})
      keep(name);
    if (!options_.token.empty())
      variables.push_back("SBX_TOKEN=" + options_.token);
    if (options_.tcp && !options_.env.count("SBX_PORT"))
      variables.push_back("SBX_PORT=0");
    if (!options_.tcp && !options_.env.count("SBX_SOCKET"))
      variables.push_back("SBX_SOCKET=" + directory_ + "/agent.sock");
    for (auto const& variable : options_.env)
      variables.push_back(variable.first + "=" + variable.second);
    std::vector<char*> argv;
    for (auto& word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (auto& variable : variables)
      envp.push_back(variable.data());
    envp.push_back(nullptr);
    std::string const log_path = directory_ + "/agent.log";
    std::string const cwd = options_.cwd.empty() ? directory_ : options_.cwd;

    pid_ = ::fork();
    if (pid_ < 0)
      throw std::runtime_error("fork failed");
    if (pid_ == 0) {
      int const log_fd = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      int const null_fd = ::open("/dev/null", O_RDWR);
      ::dup2(null_fd, 0);
      ::dup2(null_fd, 1);
      ::dup2(log_fd, 2);
      if (::chdir(cwd.c_str()) != 0)
        ::_exit(126);
      ::execvpe(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
  }

  // The agent was told port 0; the line that it prints at start names the real one.
  void find_port() {
    std::string const text = log();
    std::string_view const mark = " listening on 0.0.0.0:";
    auto const at = text.find(mark);
    if (at == std::string::npos)
      return;
    std::string_view const rest = std::string_view(text).substr(at + mark.size());
    if (rest.find(' ') == std::string_view::npos)
      return;
    port_ = std::atoi(std::string(rest.substr(0, rest.find(' '))).c_str());
  }

  agent_options options_;
  std::string directory_;
  pid_t pid_ = -1;
  int port_ = 0;
  bool killed_by_test_ = false;
  std::optional<int> status_;
};

}  // namespace hf::testing_support

#endif
