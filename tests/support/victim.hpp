#ifndef HF_SANDBOX_TESTS_SUPPORT_VICTIM_HPP
#define HF_SANDBOX_TESTS_SUPPORT_VICTIM_HPP

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace hf::testing_support {

/// Things of a user that code in a sandbox must not reach: a home with a key, listening sockets and
/// a process. `uid` 0: the caller's own.
class victim {
 public:
  explicit victim(uid_t uid) {
    char pattern[] = "/tmp/hf-victim-XXXXXX";
    if (::mkdtemp(pattern) == nullptr)
      throw std::runtime_error("mkdtemp failed");
    home_ = pattern;
    std::filesystem::create_directory(home_ + "/.ssh");
    std::ofstream(key()) << "TOP-SECRET-KEY\n";
    ::chmod(key().c_str(), 0600);
    path_listener_ = listen_at(socket());
    abstract_name_ = "hf-victim-" + std::string(pattern + 5);
    abstract_listener_ = listen_at(std::string(1, '\0') + abstract_name_);
    if (uid != 0)
      for (auto const& path : {home_, home_ + "/.ssh", key(), socket()})
        if (::chown(path.c_str(), uid, uid) != 0)
          throw std::runtime_error("chown failed");
    start_process(uid);
  }
  victim(victim const&) = delete;
  victim& operator=(victim const&) = delete;

  ~victim() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(path_listener_);
    ::close(abstract_listener_);
    std::error_code ignored;
    std::filesystem::remove_all(home_, ignored);
  }

  [[nodiscard]] std::string const& home() const { return home_; }
  [[nodiscard]] std::string key() const { return home_ + "/.ssh/id_rsa"; }
  [[nodiscard]] std::string socket() const { return home_ + "/docker.sock"; }
  /// Without the leading NUL.
  [[nodiscard]] std::string const& abstract_name() const { return abstract_name_; }
  /// A sleeping process with "CANARY-IN-ENVIRONMENT" in its environment.
  [[nodiscard]] pid_t pid() const { return pid_; }

  [[nodiscard]] bool process_lives() const { return ::waitpid(pid_, nullptr, WNOHANG) == 0; }
  [[nodiscard]] bool key_is_untouched() const {
    struct stat found {};
    std::ifstream in(key());
    std::string text;
    std::getline(in, text);
    return ::stat(key().c_str(), &found) == 0 && (found.st_mode & 07777) == 0600 &&
           text == "TOP-SECRET-KEY" && in.get() == EOF && !std::filesystem::exists(home_ + "/new");
  }

 private:
  static int listen_at(std::string const& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    auto const length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(fd, 64) != 0)
      throw std::runtime_error("cannot listen");
    return fd;
  }

  void start_process(uid_t uid) {
    pid_ = ::fork();
    if (pid_ < 0)
      throw std::runtime_error("fork failed");
    if (pid_ != 0)
      return;
    if (uid != 0 && (::setgid(uid) != 0 || ::setuid(uid) != 0))
      ::_exit(126);
    char const* const argv[] = {"sleep", "1000", nullptr};
    char const* const environment[] = {"PATH=/usr/bin:/bin", "CANARY=CANARY-IN-ENVIRONMENT",
                                       nullptr};
    ::execve("/bin/sleep", const_cast<char**>(argv), const_cast<char**>(environment));
    ::_exit(127);
  }

  std::string home_;
  std::string abstract_name_;
  int path_listener_ = -1;
  int abstract_listener_ = -1;
  pid_t pid_ = -1;
};

}  // namespace hf::testing_support

#endif
