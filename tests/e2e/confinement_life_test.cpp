#include "support/confined.hpp"
#include "support/exec_client.hpp"
#include "support/kind_of.hpp"
#include "support/scale.hpp"

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace hf::testing_support;
using hf::errc;
using hf::isolation;
using namespace std::chrono_literals;

namespace {

/// Directories of a test's own, to see that nothing is left in them.
struct places {
  public_directory base;
  std::string state = base.path() + "/state";
  std::string scratch = base.path() + "/scratch";

  places() {
    std::filesystem::create_directory(scratch);
    ::chmod(scratch.c_str(), 01777);
  }
  [[nodiscard]] hf::process_launcher launcher(isolation level) const {
    hf::process_launcher_options options;
    options.isolation = level;
    options.state_directory = state;
    options.scratch_directory = scratch;
    return hf::process_launcher(options);
  }
  /// Where a sandbox writes.
  [[nodiscard]] std::string scratch_of(std::string const& id) const {
    return scratch + "/hf-sandbox-" + std::to_string(::geteuid()) + "-" + id;
  }
  /// Entries of both directories.
  [[nodiscard]] std::size_t left() const {
    std::size_t count = 0;
    for (auto const& directory : {state, scratch})
      if (std::filesystem::exists(directory))
        count += static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(directory), {}));
    return count;
  }
};

void make_deep(std::string const& top, int depth) {
  if (::mkdir(top.c_str(), 0700) != 0)
    throw std::runtime_error("mkdir failed");
  int fd = ::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < depth; ++i) {
    if (::mkdirat(fd, "d", 0700) != 0)
      throw std::runtime_error("mkdirat failed");
    int const next = ::openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::close(fd);
    fd = next;
  }
  ::close(fd);
}

/// How many processes were started for this state directory and still run.
std::size_t processes_of(std::string const& state) {
  return count_processes("--state=" + state);
}

/// Whether a process that was given these arguments still runs.
bool runs(std::string const& arguments) {
  return count_processes(arguments) > 0;
}

template <class Condition>
bool becomes_true(Condition condition, std::chrono::seconds limit = 30s) {
  auto const until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until)
      return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

isolation any_isolation() {
  return GENERATE(isolation::private_root, isolation::landlock_only, isolation::none);
}

#define SKIP_WITHOUT(level)                                  \
  do {                                                       \
    if (auto const reason = why_not(level); !reason.empty()) \
      SKIP(reason);                                          \
  } while (false)

/// A program of its own that makes a sandbox, starts something in it, and waits for its end.
struct creator {
  pid_t pid = -1;

  creator(places const& at, isolation level, std::string const& marker) {
    int ends[2];
    if (::pipe(ends) != 0)
      throw std::runtime_error("pipe failed");
    pid = ::fork();
    if (pid == 0) {
      ::setpgid(0, 0);
      for (int const number : {SIGINT, SIGTERM})
        ::signal(number, SIG_DFL);  // the test framework has handlers
      try {
        auto sb = local_sandbox::create({}, at.launcher(level));
        sb.exec(hf::shell("setsid sh -c 'sleep 987 & exec sleep 986 " + marker +
                          "' >/dev/null 2>&1 & mkdir -p deep/er; chmod 0 deep; echo up"));
        write_to_parent(ends[1], "up");
        for (;;)
          ::pause();
      } catch (std::exception const& e) {
        std::fprintf(stderr, "%s\n", e.what());
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    char text[2];
    bool const up = ::read(ends[0], text, 2) == 2;
    ::close(ends[0]);
    if (!up)
      throw std::runtime_error("the creator failed");
  }
  creator(creator const&) = delete;
  creator& operator=(creator const&) = delete;
  ~creator() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
};

}  // namespace

TEST_CASE("terminate leaves no process and no directory, whatever the commands left") {
  auto const level = any_isolation();
  SKIP_WITHOUT(level);
  places const at;
  {
    auto sb = local_sandbox::create({}, at.launcher(level));
    sb.exec(
        hf::shell("mkdir -p a/b/c; touch a/b/f; chmod 0 a/b a; ln -s / root; mkfifo fifo; "
                  "setsid sleep 985 >/dev/null 2>&1 & (setsid sleep 985 >/dev/null 2>&1 &)"));
    sb.exec(hf::shell("i=0; while [ $i -lt 300 ]; do mkdir d && cd d || break; i=$((i+1)); done"));
    // Names that removal could want for its own.
    sb.exec(
        hf::shell("cd ..; for i in 1 2 3 4; do mkdir -p .hf-sandbox-remove-$i/a/b/c; done; true"));
    CHECK(at.left() == 2);
    CHECK(processes_of(at.state) > 0);
    sb.terminate();
    CHECK_FALSE(runs("sleep 985"));
    CHECK(becomes_true([&] { return at.left() == 0 && processes_of(at.state) == 0; }));
    CHECK(kind_of([&] { sb.exec({"true"}); }) == errc::sandbox_expired);
  }
}

TEST_CASE("processes that fork and end all the time do not escape the end") {
  auto const level = GENERATE(isolation::landlock_only, isolation::none);
  SKIP_WITHOUT(level);
  places const at;
  auto sb = local_sandbox::create({}, at.launcher(level));
  auto const r = sb.exec(
      hf::shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "
                "perl -e 'use POSIX; my $end = time + 120; exit if fork; while (time < $end) "
                "{ my $child = fork; exit if $child; POSIX::setsid() if defined $child; }' "
                "hf-runner >/dev/null 2>&1 & done; wait; echo up"));
  REQUIRE(r.out == "up\n");
  auto const begin = std::chrono::steady_clock::now();
  sb.terminate();
  // On their own they would end after two minutes.
  CHECK(std::chrono::steady_clock::now() - begin < 50s);
  CHECK_FALSE(runs("hf-runner"));
  CHECK(at.left() == 0);
}

TEST_CASE("when the creator is killed, everything is gone soon") {
  auto const level = any_isolation();
  SKIP_WITHOUT(level);
  auto const signal = GENERATE(SIGKILL, SIGINT);
  places const at;
  creator const program(at, level, "");
  REQUIRE(at.left() == 2);
  // What runs behind the command may take its time to get there.
  REQUIRE(becomes_true([] { return runs("sleep 986"); }));
  // To the whole group, as a terminal does for Ctrl-C.
  ::kill(-program.pid, signal);
  CHECK(becomes_true([&] { return at.left() == 0 && processes_of(at.state) == 0; }));
  CHECK_FALSE(runs("sleep 986"));
  CHECK_FALSE(runs("sleep 987"));
}

TEST_CASE("a creator that is killed while its sandbox starts leaves nothing") {
  auto const level = GENERATE(isolation::private_root, isolation::none);
  SKIP_WITHOUT(level);
  places const at;
  char const* const agent = std::getenv("HF_SANDBOX_AGENT");
  REQUIRE(agent != nullptr);
  std::string const program = at.base.path() + "/agent-after-the-creator";
  auto const start = [&](std::string const& script) {
    std::ofstream(program) << "#!/bin/sh\nkill -KILL $PPID\n" << script << "\n";
    ::chmod(program.c_str(), 0755);
    CHECK_THROWS(in_child(0, [&] {
      hf::process_launcher_options options;
      options.agent = program;
      options.isolation = level;
      options.state_directory = at.state;
      options.scratch_directory = at.scratch;
      auto sb = local_sandbox::create({}, hf::process_launcher(options));
      return std::string("created");
    }));
  };
  SECTION("before there is a keeper") {
    // Waits until it has another parent.
    start("while [ \"$(cut -d' ' -f4 /proc/$$/stat)\" = $PPID ]; do sleep 0.01; done\nexec " +
          std::string(agent) + " \"$@\"");
  }
  SECTION("and there never is a keeper: the next list clears up after a minute") {
    start("exit 0");
    CHECK(at.left() == 2);
    timespec const then[2] = {{::time(nullptr) - 120, 0}, {::time(nullptr) - 120, 0}};
    for (auto const& entry : std::filesystem::directory_iterator(at.state))
      REQUIRE(::utimensat(AT_FDCWD, entry.path().c_str(), then, 0) == 0);
    CHECK(becomes_true([&] {
      static_cast<void>(local_sandbox::list({}, at.launcher(level)));
      return at.left() == 0;
    }));
  }
  CHECK(becomes_true([&] { return at.left() == 0 && processes_of(at.state) == 0; }));
}

TEST_CASE("when the keeper is killed, the agent ends, and the rest is cleared by the next stop") {
  auto const level = GENERATE(isolation::private_root, isolation::none);
  SKIP_WITHOUT(level);
  places const at;
  auto sb = local_sandbox::create({}, at.launcher(level));
  std::ifstream in(at.state + "/" + sb.id() + "/sandbox.json");
  auto const keeper = nlohmann::json::parse(in).at("keeper").get<pid_t>();
  REQUIRE(::kill(keeper, SIGKILL) == 0);
  CHECK(becomes_true([&] { return processes_of(at.state) == 0; }));
  // A process that ends is out of sight a moment before it gives up its lock.
  CHECK(becomes_true([&] {
    return kind_of([&] { (void)local_sandbox::connect(sb.id(), at.launcher(level)); }) ==
           errc::not_found;
  }));
  sb.terminate();
  CHECK(at.left() == 0);
}

TEST_CASE("what a killed keeper left is cleared by the next one, however deep") {
  auto const level = isolation::none;
  places const at;
  auto sb = local_sandbox::create({}, at.launcher(level));
  sb.exec(hf::shell("mkdir -p a/b; chmod 0 a/b a"));
  int const depth = scaled(20'000, 1'000);
  make_deep(at.scratch_of(sb.id()) + "/deep", depth);
  std::ifstream in(at.state + "/" + sb.id() + "/sandbox.json");
  auto const keeper = nlohmann::json::parse(in).at("keeper").get<pid_t>();
  REQUIRE(::kill(keeper, SIGKILL) == 0);
  CHECK(becomes_true([&] { return processes_of(at.state) == 0; }));
  // As a program does that ended in the middle of this.
  REQUIRE(::rename((at.state + "/" + sb.id()).c_str(), (at.state + "/.ended-" + sb.id()).c_str()) ==
          0);
  auto next = local_sandbox::create({}, at.launcher(level));
  next.terminate();
  CHECK(becomes_true([&] { return at.left() == 0; }));
}

TEST_CASE("terminate returns when the sandbox has ended, and the clearing up goes on") {
  auto const level = GENERATE(isolation::private_root, isolation::none);
  SKIP_WITHOUT(level);
  places const at;
  auto sb = local_sandbox::create({}, at.launcher(level));
  make_deep(at.scratch_of(sb.id()) + "/deep", scaled(40'000, 1'000));
  sb.terminate();
  CHECK_FALSE(std::filesystem::exists(at.state + "/" + sb.id()));
  CHECK(local_sandbox::list({}, at.launcher(level)).empty());
  CHECK(becomes_true([&] { return at.left() == 0 && processes_of(at.state) == 0; }));
}

TEST_CASE("the record of a sandbox stays until everything that it wrote is gone") {
  places const at;
  auto sb = local_sandbox::create({}, at.launcher(isolation::none));
  std::string const busy = at.scratch_of(sb.id()) + "/busy";
  REQUIRE(::mkdir(busy.c_str(), 0700) == 0);
  if (::mount("none", busy.c_str(), "tmpfs", 0, nullptr) != 0)
    SKIP("mounting takes root");
  sb.terminate();
  bool const kept = std::filesystem::exists(at.state + "/.ended-" + sb.id() + "/sandbox.json");
  bool const found = std::filesystem::exists(at.state + "/" + sb.id());
  REQUIRE(::umount(busy.c_str()) == 0);
  CHECK(kept);
  CHECK_FALSE(found);
  static_cast<void>(local_sandbox::list({}, at.launcher(isolation::none)));
  CHECK(at.left() == 0);
}

TEST_CASE("a stop while the keeper clears up waits for it; one while another starts is refused") {
  places const at;
  auto launcher = at.launcher(isolation::private_root);
  hf::curl_transport through;
  std::string const id = "0123456789abcdef01234567";
  std::string const directory = at.state + "/" + id;
  REQUIRE(::mkdir(at.state.c_str(), 0700) == 0);
  REQUIRE(::mkdir(directory.c_str(), 0700) == 0);
  int const lock = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::flock(lock, LOCK_EX) == 0);

  SECTION("the record is gone already, the directory and its lock are not") {
    CHECK(launcher.list(through, {}).empty());
    CHECK(kind_of([&] { (void)launcher.inspect(through, id); }) == errc::not_found);
    std::atomic<bool> removed = false;
    std::thread keeper([&] {
      std::this_thread::sleep_for(200ms);
      removed = true;
      ::rmdir(directory.c_str());
      ::close(lock);
    });
    launcher.stop(through, id);
    CHECK(removed);
    keeper.join();
  }
  SECTION("there is a record, but no keeper yet") {
    std::ofstream(directory + "/sandbox.json")
        << R"({"labels":{},"isolation":"private_root","created_ms":0,"keeper":0,)"
           R"("keeper_start":"","scratch":"","alias":""})";
    CHECK(launcher.inspect(through, id).phase == hf::phase::starting);
    CHECK(kind_of([&] { launcher.stop(through, id); }) == errc::conflict);
    CHECK(at.left() == 1);
    ::close(lock);
    launcher.stop(through, id);
  }
  CHECK(at.left() == 0);
}

TEST_CASE("a released sandbox outlives its creator and is found and ended by others") {
  auto const level = isolation::none;
  places const at;
  std::string const id = in_child(0, [&] {
    hf::launch_options options;
    options.labels = {{"job", "released"}};
    auto sb = local_sandbox::create(options, at.launcher(level));
    sb.write_file("kept.txt", "kept");
    return sb.release();
  });
  auto const found = local_sandbox::list({{"job", "released"}}, at.launcher(level));
  REQUIRE(found.size() == 1);
  CHECK(found[0].id == id);
  CHECK(found[0].phase == hf::phase::running);
  CHECK(local_sandbox::list({{"job", "another"}}, at.launcher(level)).empty());
  auto sb = local_sandbox::connect(id, at.launcher(level));
  CHECK(sb.read_file("kept.txt") == "kept");
  sb.terminate();
  CHECK(at.left() == 0);
  CHECK(kind_of([&] { (void)local_sandbox::connect(id, at.launcher(level)); }) == errc::not_found);
}

TEST_CASE("a sandbox ends after its timeout and after its idle time") {
  places const at;
  hf::launch_options options;
  SECTION("timeout") {
    options.timeout = 1s;
  }
  SECTION("idle time") {
    options.idle_timeout = 1s;
  }
  auto sb = local_sandbox::create(options, at.launcher(isolation::none));
  CHECK(becomes_true([&] { return at.left() == 0; }));
  CHECK(kind_of([&] { sb.exec({"true"}); }) == errc::sandbox_expired);
}

TEST_CASE("a state directory that others could enter is refused") {
  places const at;
  std::filesystem::create_directory(at.state);
  SECTION("open to others") {
    ::chmod(at.state.c_str(), 0755);
  }
  SECTION("another user's") {
    if (::geteuid() != 0)
      SKIP("needs root");
    ::chmod(at.state.c_str(), 0700);
    REQUIRE(::chown(at.state.c_str(), ordinary_uid, ordinary_uid) == 0);
  }
  SECTION("a symbolic link") {
    std::filesystem::remove(at.state);
    std::filesystem::create_directory(at.base.path() + "/elsewhere");
    ::chmod((at.base.path() + "/elsewhere").c_str(), 0700);
    std::filesystem::create_directory_symlink(at.base.path() + "/elsewhere", at.state);
  }
  auto const kind = kind_of([&] { (void)local_sandbox::create({}, at.launcher(isolation::none)); });
  CHECK((kind == errc::permission_denied || kind == errc::io_error));
}

TEST_CASE("a state directory with a long path works") {
  places at;
  at.state = at.base.path() + "/" + std::string(150, 'x');
  {
    auto sb = local_sandbox::create({}, at.launcher(isolation::none));
    auto const r = sb.exec({"echo", "hello"});
    CAPTURE(r.exit_code, r.signal, r.err);
    CHECK(r.out == "hello\n");
    CHECK(sb.unix_socket().size() < 108);
    auto const again = local_sandbox::connect(sb.id(), at.launcher(isolation::none));
    CHECK(again.unix_socket() == sb.unix_socket());
  }
  CHECK(at.left() == 0);
}

TEST_CASE("the last sandbox takes the default state directory with it") {
  public_directory const runtime;
  ::setenv("XDG_RUNTIME_DIR", runtime.path().c_str(), 1);
  std::string const base = runtime.path() + "/hf-sandbox-" + std::to_string(::geteuid());
  {
    hf::process_launcher_options options;
    options.isolation = isolation::none;
    auto sb = local_sandbox::create({}, hf::process_launcher(options));
    CHECK(std::filesystem::exists(base + "/" + sb.id() + "/agent.sock"));
  }
  CHECK(becomes_true([&] { return !std::filesystem::exists(base); }));
  ::unsetenv("XDG_RUNTIME_DIR");
}

TEST_CASE("what cannot be honoured is refused by name, and nothing is left") {
  places const at;
  auto const refused = [&](hf::launch_options const& options, char const* name,
                           isolation level = isolation::private_root) {
    try {
      auto sb = local_sandbox::create(options, at.launcher(level));
    } catch (hf::error const& e) {
      CAPTURE(e.what());
      CHECK(std::string(e.what()).find(name) != std::string::npos);
      return e.kind();
    }
    return errc{};
  };
  CHECK(refused({.volumes = {{.type = "model", .source = "a/b", .mount_path = "/m"}}}, "volumes") ==
        errc::unsupported);
  CHECK(refused({.volumes = {{.type = "bind", .source = "/tmp", .mount_path = "/m"}}}, "volumes",
                isolation::none) == errc::unsupported);
  CHECK(refused({.name_space = "org"}, "name_space") == errc::unsupported);
  CHECK(refused({.forward_hf_token = true}, "forward_hf_token") == errc::unsupported);
  CHECK(refused({.network = false}, "network", isolation::landlock_only) == errc::unsupported);
  CHECK(refused({.env = {{"SBX_TOKEN", "x"}}}, "SBX_TOKEN") == errc::invalid_argument);
  CHECK(refused({.env = {{"A=B", "x"}}}, "A=B") == errc::invalid_argument);
  CHECK(refused({.labels = {{"hf-sandbox", "x"}}}, "hf-sandbox") == errc::invalid_argument);
  CHECK(at.left() == 0);
}

TEST_CASE("an agent that does not start is reported with what it printed, and nothing is left") {
  places const at;
  std::string const program = at.base.path() + "/broken-agent";
  hf::process_launcher_options options;
  options.agent = program;
  options.state_directory = at.state;
  options.scratch_directory = at.scratch;
  auto const write = [&](std::string const& script) {
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    ::chmod(program.c_str(), 0755);
  };
  hf::launch_options launch;
  launch.start_timeout = 2s;
  SECTION("it ends") {
    write("echo out of order >&2; exit 3");
    try {
      auto sb = local_sandbox::create(launch, hf::process_launcher(options));
      FAIL("it was created");
    } catch (hf::launch_error const& e) {
      CHECK(e.kind() == errc::launch_failed);
      CHECK(e.log_tail().find("out of order") != std::string::npos);
    }
  }
  SECTION("it is not there") {
    CHECK(kind_of([&] { (void)local_sandbox::create(launch, hf::process_launcher(options)); }) ==
          errc::agent_not_found);
  }
  CHECK(at.left() == 0);
}

TEST_CASE("a program that is no agent is given up at start_timeout, and ended") {
  places const at;
  std::string const program = at.base.path() + "/broken-agent";
  hf::process_launcher_options options;
  options.agent = program;
  options.state_directory = at.state;
  options.scratch_directory = at.scratch;
  std::string script;
  SECTION("it does nothing") {
    script = "exec sleep 984";
  }
  SECTION("it prints without end") {
    script = "sleep 984 & exec yes hf-sandbox-noise >&2";
  }
  SECTION("it prints one line without end") {
    script = "sleep 984 & exec tr '\\0' x </dev/zero >&2";
  }
  std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
  ::chmod(program.c_str(), 0755);
  hf::launch_options launch;
  launch.start_timeout = 500ms;
  try {
    auto sb = local_sandbox::create(launch, hf::process_launcher(options));
    FAIL("it was created");
  } catch (hf::launch_error const& e) {
    CHECK(e.kind() == errc::start_timed_out);
    CHECK(e.log_tail().size() <= 32 * 1024);
  }
  CHECK(at.left() == 0);
  CHECK_FALSE(runs("sleep 984"));
  CHECK_FALSE(runs("hf-sandbox-noise"));
}

TEST_CASE(
    "a create that finds no descriptors left, at any step, is a typed error and leaves nothing") {
  places const at;
  auto const wrong = in_child(0, [&] {
    std::string text;
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    hf::launch_options launch;
    launch.start_timeout = 300ms;
    for (rlim_t limit = 3; limit < 64; ++limit) {
      rlimit const tight{limit, before.rlim_max};
      std::optional<local_sandbox> sb;
      std::string failure;
      ::setrlimit(RLIMIT_NOFILE, &tight);
      try {
        sb.emplace(local_sandbox::create(launch, at.launcher(isolation::none)));
      } catch (hf::error const& e) {
        failure = to_string(e.kind());
      }
      ::setrlimit(RLIMIT_NOFILE, &before);
      if (sb) {
        sb->terminate();
        return text + "created";
      }
      if (at.left() != 0)
        text += failure + " at " + std::to_string(limit) + " left something; ";
    }
    return text;
  });
  CHECK(wrong == "created");
  CHECK(at.left() == 0);
  CHECK(processes_of(at.state) == 0);
}

TEST_CASE("a create on a full disk says so, at any step, and leaves nothing") {
  if (::geteuid() != 0)
    SKIP("needs root to mount a small file system");
  auto const level = GENERATE(isolation::private_root, isolation::none);
  SKIP_WITHOUT(level);
  places const at;
  auto const kinds = in_child(0, [&] {
    std::string text;
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      throw std::runtime_error("unshare failed");
    for (int room = 1; room < 12; ++room) {
      auto const size = "mode=1777,nr_inodes=" + std::to_string(room);
      if (::mount("tmpfs", at.scratch.c_str(), "tmpfs", 0, size.c_str()) != 0)
        throw std::runtime_error("mount failed");
      try {
        local_sandbox::create({}, at.launcher(level)).terminate();
        text += "created";
      } catch (hf::error const& e) {
        text += std::string(to_string(e.kind())) + " ";
      }
      if (at.left() != 0)
        text += "(left something) ";
      ::umount2(at.scratch.c_str(), MNT_DETACH);
      if (text.ends_with("created"))
        return text;
    }
    return text;
  });
  INFO(kinds);
  CHECK(kinds.starts_with("no_space no_space "));
  CHECK(kinds.ends_with("no_space created"));
  CHECK(kinds.find_first_of("(") == std::string::npos);
}

TEST_CASE("what a creator left that was killed in the middle of a create is cleared by others") {
  places at;
  SECTION("short path") {}
  SECTION("long path") {
    at.state = at.base.path() + "/" + std::string(150, 'x');
  }
  std::string const program = at.base.path() + "/killer";
  std::ofstream(program) << "#!/bin/sh\nkill -KILL $PPID\n";
  ::chmod(program.c_str(), 0755);
  hf::process_launcher_options options;
  options.agent = program;
  options.state_directory = at.state;
  options.scratch_directory = at.scratch;
  CHECK_THROWS(in_child(0, [&] {
    (void)local_sandbox::create({}, hf::process_launcher(options));
    return std::string();
  }));
  REQUIRE(at.left() == 2);
  auto const state = *std::filesystem::directory_iterator(at.state);
  auto const alias =
      "/tmp/hf-sandbox-" + std::to_string(::geteuid()) + "/" + state.path().filename().string();
  std::filesystem::last_write_time(
      state, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(5));
  // The agent that killed its creator may hold the lock for a moment yet.
  CHECK(becomes_true([&] {
    return local_sandbox::list({}, hf::process_launcher(options)).empty() && at.left() == 0;
  }));
  CHECK_FALSE(std::filesystem::is_symlink(alias));
}

TEST_CASE("an agent whose scratch directory was replaced by a link touches nothing") {
  places const at;
  std::filesystem::create_directory(at.state);
  std::filesystem::create_directory(at.base.path() + "/elsewhere");
  ::chmod((at.base.path() + "/elsewhere").c_str(), 0755);
  std::ofstream(at.state + "/token") << "token";
  std::filesystem::create_directory_symlink(at.base.path() + "/elsewhere", at.scratch + "/link");
  hf::detail::unique_fd const directory(::open(at.state.c_str(), O_RDONLY | O_DIRECTORY));
  auto const agent = hf::locate_agent().string();
  auto started = hf::detail::spawn_local_agent(
      agent,
      {agent, "--confine=private-root", "--state=" + at.state, "--scratch=" + at.scratch + "/link",
       "--lifeline-fd=3", "--status-fd=4", "--lock-fd=5"},
      {"PATH=/usr/bin:/bin"}, directory.get());
  hf::detail::local_status status(std::move(started.status));
  auto const until = std::chrono::steady_clock::now() + 30s;
  CHECK(status.wait_until_decided(until, {}) == hf::detail::local_status::outcome::failed);
  CHECK(status.wait_until_gone(until));
  struct stat found {};
  REQUIRE(::stat((at.base.path() + "/elsewhere").c_str(), &found) == 0);
  CHECK(found.st_uid == ::geteuid());
  CHECK((found.st_mode & 07777) == 0755);
  CHECK(std::filesystem::is_empty(at.base.path() + "/elsewhere"));
}

TEST_CASE("starting can be cancelled and times out, and leaves nothing") {
  places const at;
  hf::launch_options launch;
#if defined(__cpp_lib_jthread)
  SECTION("cancelled before") {
    std::stop_source source;
    source.request_stop();
    launch.stop = source.get_token();
    CHECK(kind_of([&] { (void)local_sandbox::create(launch, at.launcher(isolation::none)); }) ==
          errc::cancelled);
  }
#endif
  SECTION("timed out") {
    launch.start_timeout = 1ms;
    auto const kind =
        kind_of([&] { (void)local_sandbox::create(launch, at.launcher(isolation::none)); });
    CHECK((kind == errc::start_timed_out || kind == errc{}));
  }
  CHECK(at.left() == 0);
}

TEST_CASE("twenty sandboxes at once are kept apart") {
  SKIP_WITHOUT(isolation::private_root);
  places const at;
  {
    auto const client = std::make_shared<local_sandbox::client_type>(
        at.launcher(isolation::private_root), hf::curl_transport());
    std::vector<std::thread> threads;
    std::vector<std::string> outputs(20);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      threads.emplace_back([&, i] {
        try {
          auto sb = local_sandbox::create(client);
          sb.write_file("/tmp/mine", std::to_string(i));
          outputs[i] = sb.exec(hf::shell("cat /tmp/mine; ls /tmp | wc -l")).out;
        } catch (std::exception const& e) {
          outputs[i] = e.what();
        }
      });
    for (auto& thread : threads)
      thread.join();
    for (std::size_t i = 0; i < outputs.size(); ++i)
      CHECK(outputs[i] == std::to_string(i) + "1\n");
  }
  CHECK(at.left() == 0);
}

TEST_CASE("the agent is searched in known places, and all are named when it is in none") {
  char const* const named = std::getenv("HF_SANDBOX_AGENT");
  REQUIRE(named != nullptr);
  std::string const agent = named;
  CHECK(hf::locate_agent() == std::filesystem::absolute(agent));
  CHECK(kind_of([&] { (void)hf::locate_agent("/nonexistent/agent"); }) == errc::agent_not_found);

  std::string const path = std::getenv("PATH");
  ::setenv("HF_SANDBOX_AGENT", "/nonexistent/agent", 1);
  CHECK(kind_of([&] { (void)hf::locate_agent(); }) == errc::agent_not_found);
  ::unsetenv("HF_SANDBOX_AGENT");
  public_directory const folder;
  ::setenv("PATH", (folder.path() + ":/nonexistent").c_str(), 1);
  try {
    auto const found = hf::locate_agent();
    // The test program may lie beside the agent.
    CHECK(found.filename() == hf::agent_file_name);
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::agent_not_found);
    std::string const text = e.what();
    CHECK(text.find(folder.path() + "/hf-sandbox-agent") != std::string::npos);
    CHECK(text.find("libexec") != std::string::npos);
  }
  ::setenv("PATH", path.c_str(), 1);
  ::setenv("HF_SANDBOX_AGENT", agent.c_str(), 1);
}
