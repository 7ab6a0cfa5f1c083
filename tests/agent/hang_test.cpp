// What a command, or a file system, can let the agent wait for must hold up nobody else.
#include "detail/blocking_pool.hpp"
#include "exec/marker_reader.hpp"
#include "exec/sweep.hpp"
#include "support/exec_client.hpp"
#include "support/hung_file_system.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <string>
#include <vector>

using namespace hf::testing_support;
using nlohmann::json;

namespace {

constexpr char no_fuse[] = "no FUSE here (it needs root and /dev/fuse)";

struct request {
  std::string method;
  std::string target;
  std::string body = {};
};

raw_http begin(agent_process const& agent, request const& what) {
  raw_http connection = agent.connect();
  connection.send_request(what.method, what.target, agent.token(), what.body);
  return connection;
}

bool has_answer(raw_http const& connection) {
  pollfd answer{connection.fd(), POLLIN, 0};
  return ::poll(&answer, 1, 0) != 0;
}

// Commands, timeouts, processes and files go on as ever.
void check_alive(agent_process const& agent) {
  CHECK(agent.request("GET", "/health").status == 200);
  CHECK(exec(agent, {{"cmd", json::array({"true"})}}).code() == 0);
  CHECK(exec(agent, {{"cmd", "sleep 100"}, {"timeout", 0.05}}).exit["timed_out"] == true);
  auto const process = start_process(agent, {{"cmd", "sleep 100"}});
  CHECK(agent.request("DELETE", "/v1/processes/" + process["id"].get<std::string>())
            .json()["killed"] == true);
  CHECK(agent.request("PUT", "/v1/files/write?path=alive", "yes").status == 200);
  CHECK(agent.request("GET", "/v1/files/read?path=alive").body == "yes");
}

std::size_t children_of(pid_t parent) {
  std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                   "/children");
  std::size_t found = 0;
  for (pid_t child = 0; in >> child;)
    ++found;
  return found;
}

// A program that cannot be opened while the lease is held.
class leased_program {
 public:
  explicit leased_program(std::string path) : path_(std::move(path)) {
    std::filesystem::copy_file(std::filesystem::canonical("/bin/true"), path_);
    // SIGIO, which says that somebody waits, would end the test.
    before_ = ::signal(SIGIO, SIG_IGN);
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    held_ = ::fcntl(fd_, F_SETLEASE, F_WRLCK) == 0;
  }
  leased_program(leased_program const&) = delete;
  leased_program& operator=(leased_program const&) = delete;
  ~leased_program() {
    release();
    ::signal(SIGIO, before_);
  }
  void release() {
    if (fd_ >= 0)
      ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] bool held() const { return held_; }
  [[nodiscard]] std::string const& path() const { return path_; }

 private:
  std::string path_;
  sighandler_t before_ = SIG_DFL;
  int fd_ = -1;
  bool held_ = false;
};

}  // namespace

TEST_CASE("a file system that never answers holds up only who asks for it, on every route",
          "[hang]") {
  if (!hung_file_system::possible())
    SKIP(no_fuse);
  agent_process agent;
  std::vector<raw_http> waiting;
  {
    hung_file_system const hung(agent.directory() + "/hung", answers::nothing);
    std::string const file = hung.path() + "/file";
    std::string const op = std::string(31, 'a');
    std::vector<request> const requests{
        {"POST", "/v1/exec", json{{"cmd", {file}}}.dump()},
        {"POST", "/v1/exec", json{{"cmd", {file}}, {"op", op + "1"}}.dump()},
        {"POST", "/v1/exec", json{{"cmd", "true"}, {"cwd", hung.path() + "/dir"}}.dump()},
        {"POST", "/v1/exec",
         json{{"cmd", {"program"}}, {"env", {{"PATH", hung.path() + "/bin:/bin"}}}}.dump()},
        {"POST", "/v1/exec", json{{"cmd", {file}}, {"background", true}}.dump()},
        {"POST", "/v1/processes", json{{"cmd", {file}}, {"stdin", "x"}}.dump()},
        {"GET", "/v1/files/read?path=" + file},
        {"PUT", "/v1/files/write?path=" + file, "content"},
        {"PUT", "/v1/files/write?path=" + file + "&op=" + op + "2", "content"},
        {"PUT", "/v1/files/write?offset=5&path=" + file, "content"},
        {"GET", "/v1/files/list?path=" + hung.path() + "/dir"},
        {"GET", "/v1/files/stat?path=" + file},
        {"DELETE", "/v1/files/delete?path=" + file},
        {"DELETE", "/v1/files/delete?recursive=true&path=" + file},
        {"POST", "/v1/files/mkdir?path=" + file + "/new"},
    };
    // More of each than a few threads would take.
    for (int i = 0; i < 3; ++i)
      for (auto const& what : requests) {
        INFO(what.method << " " << what.target << " " << what.body);
        waiting.push_back(begin(agent, what));
        if (i == 0)
          check_alive(agent);
      }
    check_alive(agent);
    for (auto const& one : waiting)
      CHECK_FALSE(has_answer(one));
  }
  // When it is gone everybody is answered: with an error, but where a repetition comes after it.
  for (auto& one : waiting)
    CHECK(one.read_head().status != 0);
}

TEST_CASE("a file that can neither be read nor closed holds up only who asked for it", "[hang]") {
#if defined(__SANITIZE_THREAD__)
  SKIP("under ThreadSanitizer commands start by fork, which copies the agent's open files");
#endif
  if (!hung_file_system::possible())
    SKIP(no_fuse);
  agent_process agent;
  hung_file_system const hung(agent.directory() + "/hung", answers::opens);
  std::string const target = "/v1/files/read?path=" + hung.path() + "/file";
  auto waiting = begin(agent, {"GET", target});
  REQUIRE(eventually([&] { return hung.opens() == 1; }));
  CHECK(agent.request("GET", "/health").status == 200);
  // Only its size is asked for: it is opened and closed.
  auto const asking = begin(agent, {"HEAD", target});
  REQUIRE(eventually([&] { return hung.opens() == 2; }));
  {
    auto const given_up = begin(agent, {"GET", target + "&offset=1"});
    REQUIRE(eventually([&] { return hung.opens() == 3; }));
  }
  check_alive(agent);
  CHECK_FALSE(has_answer(waiting));
}

TEST_CASE("a command that cannot be started in time is given up", "[hang]") {
  if (!hung_file_system::possible())
    SKIP(no_fuse);
  agent_process agent;
  auto const how = GENERATE(answers::nothing, answers::names);
  hung_file_system const hung(agent.directory() + "/hung", how);
  json const command{{"cmd", {hung.path() + "/program"}}, {"timeout", 0.2}};
  auto const late = exec(agent, command);
  CHECK(late.status == 400);
  CHECK(late.error["code"] == "exec_failed");
  CHECK(late.error["stage"] == "exec");
  CHECK(late.error["errno"] == ETIMEDOUT);
  auto const process = agent.request("POST", "/v1/processes", command.dump());
  CHECK(process.status == 400);
  CHECK(agent.request("GET", "/v1/processes").json().empty());
  if (how == answers::names)
    CHECK(hung.opens() > 0);
  else
    CHECK(eventually([&] { return children_of(agent.pid()) == 0; }));
  check_alive(agent);
}

TEST_CASE("a caller who goes while his command is started takes it along", "[hang]") {
  if (!hung_file_system::possible())
    SKIP(no_fuse);
  agent_process agent;
  hung_file_system const hung(agent.directory() + "/hung", answers::nothing);
  {
    auto const connection =
        begin(agent, {"POST", "/v1/exec", json{{"cmd", {hung.path() + "/program"}}}.dump()});
    REQUIRE(eventually([&] { return children_of(agent.pid()) > 0; }));
  }
  CHECK(eventually([&] { return children_of(agent.pid()) == 0; }));
}

TEST_CASE("a lease on a program delays only who runs it", "[hang]") {
  agent_process agent;
  leased_program program(agent.directory() + "/program");
  if (!program.held())
    SKIP("no leases on this file system");
  json const command = json::array({program.path()});
  auto plain = begin(agent, {"POST", "/v1/exec", json{{"cmd", command}}.dump()});
  json const repeated{{"cmd", command}, {"op", std::string(32, 'b')}};
  std::vector<raw_http> same;
  for (int i = 0; i < 3; ++i)
    same.push_back(begin(agent, {"POST", "/v1/exec", repeated.dump()}));
  // The input of others ends although a process that was started later has not begun.
  auto cat = begin_exec(agent, {{"cmd", "cat"}, {"stdin", "stream"}, {"v", 2}});
  auto background =
      begin(agent, {"POST", "/v1/processes", json{{"cmd", command}, {"tag", "x"}}.dump()});
  check_alive(agent);
  CHECK(agent
            .request("POST", "/v1/processes/" + cat.start["id"].get<std::string>() + "/stdin?eof=1",
                     "in")
            .status == 200);
  exec_outcome cat_outcome;
  collect_events(cat.connection, cat_outcome);
  CHECK(cat_outcome.out == "in");
  CHECK_FALSE(has_answer(plain));
  program.release();
  CHECK(plain.read_head().status == 200);
  exec_outcome outcome;
  collect_events(plain, outcome);
  CHECK(outcome.code() == 0);
  // One run for all who asked for the same.
  std::string id;
  for (auto& one : same) {
    REQUIRE(one.read_head().status == 200);
    exec_outcome part;
    collect_events(one, part);
    CHECK(part.code() == 0);
    CHECK((id.empty() || part.id() == id));
    id = part.id();
  }
  CHECK(background.read_answer().status == 200);
}

TEST_CASE("an operation that is being started is not called unknown", "[hang]") {
  agent_process agent;
  leased_program program(agent.directory() + "/program");
  if (!program.held())
    SKIP("no leases on this file system");
  std::string const op(32, 'c');
  auto run = begin(
      agent, {"POST", "/v1/exec", json{{"cmd", {program.path()}}, {"op", op}, {"v", 2}}.dump()});
  REQUIRE(eventually([&] { return children_of(agent.pid()) > 0; }));
  auto question = begin(agent, {"GET", "/v1/ops/" + op});
  CHECK(agent.request("GET", "/health").status == 200);
  program.release();
  CHECK(question.read_answer().status == 200);
  CHECK(run.read_head().status == 200);
}

TEST_CASE("a process whose environment cannot be read in time keeps nobody waiting", "[hang]") {
  using hf::agent::process_info;
  std::promise<void> end;
  auto const ended = end.get_future().share();
  std::atomic<int> asked{0};
  hf::agent::marker_reader reader(
      [&asked, ended](pid_t pid) -> std::optional<std::string> {
        ++asked;
        if (pid % 10 == 0)
          ended.wait();
        if (pid % 2 == 0)
          return std::nullopt;
        return std::to_string(pid);
      },
      std::chrono::milliseconds(20));
  std::vector<process_info> some;
  for (pid_t pid = 1; pid <= 40; ++pid)
    some.push_back({pid, 1, pid, pid, 'S', 7});
  CHECK(reader.read(some).size() == 20);
  CHECK(asked == 40);
  // The same are not asked again; their successors are.
  CHECK(reader.read(some).size() == 20);
  CHECK(asked == 76);
  // When too many hang, nobody is asked.
  for (int i = 1; i <= 16; ++i)
    static_cast<void>(reader.read({{10, 1, 10, 10, 'S', std::uint64_t(100 + i)}}));
  CHECK(asked < 76 + 16);
  // Those that answer after all are asked as before.
  end.set_value();
  CHECK(eventually([&] {
    int const before = asked;
    return reader.read(some).size() == 20 && asked == before + 40;
  }));
}

TEST_CASE("a tree's members are found in linear time, however deep and in whatever order",
          "[hang]") {
  // Pids that no kernel gives, so that no environment is read.
  constexpr pid_t first = 5'000'000;
  constexpr int depth = 60'000;
  std::vector<hf::agent::process_info> all;
  for (int i = depth; i > 0; --i)
    all.push_back({first + i, first + i - 1, first + i, first + i, 'S', 100});
  all.push_back({first, 1, first, first, 'S', 100});
  hf::agent::sweep_target target;
  target.leader = first;
  CHECK(hf::agent::members_of(target, all, ::getpid()).size() == depth + 1);
}

TEST_CASE("work that hangs gets further threads, and then no more work", "[hang]") {
  using namespace std::chrono_literals;
  hf::agent::blocking_pool pool({1, 3, 1ms, 1ms});
  std::promise<void> end;
  auto const ended = end.get_future().share();
  std::atomic<int> begun{0};
  auto const hang = [&begun, ended] {
    ++begun;
    ended.wait();
  };
  for (int i = 0; i < 3; ++i)
    pool.submit(hang);
  CHECK(eventually([&] { return begun == 3; }));
  CHECK_FALSE(pool.overloaded());
  pool.submit(hang);
  CHECK(eventually([&] { return pool.overloaded(); }));
  CHECK(begun == 3);
  end.set_value();
  CHECK(eventually([&] { return begun == 4 && !pool.overloaded(); }));
  // Threads that are not needed any more end, and their places are taken again.
  CHECK(eventually([&] { return pool.threads() == 1; }));
  std::promise<void> again;
  auto const until_again = again.get_future().share();
  for (int i = 0; i < 3; ++i)
    pool.submit([&begun, until_again] {
      ++begun;
      until_again.wait();
    });
  CHECK(eventually([&] { return begun == 7; }));
  again.set_value();
}
