#include "support/attacks.hpp"
#include "support/confined.hpp"

#include <arpa/inet.h>
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <fstream>
#include <string>
#include <vector>

using namespace hf::testing_support;
using hf::isolation;

namespace {

std::vector<inside_result> inside(isolation level, uid_t creator,
                                  std::vector<std::string> const& scripts,
                                  hf::launch_options launch = {}) {
  if (auto const reason = why_not(level, creator); !reason.empty())
    SKIP(reason);
  inside_options how;
  how.uid = creator;
  how.isolation = level;
  how.launch = std::move(launch);
  return run_inside(how, scripts);
}

/// A TCP listener on the host's loopback interface.
struct host_server {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port = 0;
  host_server() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(fd, 8) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("cannot listen");
    port = ntohs(address.sin_port);
  }
  ~host_server() { ::close(fd); }
};

}  // namespace

TEST_CASE("ordinary programs work in a private root") {
  auto const creator = GENERATE(from_range(creators()));
  auto const r = inside(
      isolation::private_root, creator,
      {
          "cd && pwd && echo data > file && chmod 750 file && mkdir -p a/b && mv file a/b && "
          "cat a/b/file",
          "echo t > /tmp/f && mv /tmp/f ~/moved && cat ~/moved && echo v > /var/tmp/f && "
          "echo s > /dev/shm/f && cat /var/tmp/f /dev/shm/f",
          "id -un; id -u; getent passwd sandbox | cut -d: -f6; getent hosts localhost >/dev/null "
          "&& "
          "echo resolves",
          "echo written > /dev/null && head -c 4 /dev/urandom | wc -c && echo x | cat /dev/stdin",
          "perl -e 'use Socket; socketpair(A,B,AF_UNIX,SOCK_STREAM,0) or die; "
          "socket(S,AF_UNIX,SOCK_STREAM,0) && bind(S,pack_sockaddr_un(\"/tmp/s\")) && "
          "listen(S,1) && socket(C,AF_UNIX,SOCK_STREAM,0) && "
          "connect(C,pack_sockaddr_un(\"/tmp/s\")) "
          "and print \"connected\\n\"'",
          "sleep 100 & kill -TERM $! && wait $!; echo $?",
          "mkfifo p && (echo through > p &) && cat p",
          "(sleep 0.1; exit 3) & wait $!; echo $?; ls -d /proc/[0-9]* | wc -l",
          "touch -d 2001-02-03 file2 && ln -s file2 link && cp -p file2 copy && stat -c %Y copy",
      });
  INFO(r[4].err);
  CHECK(r[0].out == "/home/sandbox\ndata\n");
  CHECK(r[1].out == "t\nv\ns\n");
  CHECK(r[2].out == "sandbox\n1000\n/home/sandbox\nresolves\n");
  CHECK(r[3].out == "4\nx\n");
  CHECK(r[4].out == "connected\n");
  CHECK(r[5].out == "143\n");
  CHECK(r[6].out == "through\n");
  CHECK(r[7].out.substr(0, 2) == "3\n");
  CHECK(r[8].exit_code == 0);
}

TEST_CASE("Python works in every isolation where the machine has it") {
  if (!std::filesystem::exists("/usr/bin/python3"))
    SKIP("there is no /usr/bin/python3");
  auto const level = GENERATE(isolation::private_root, isolation::landlock_only, isolation::none);
  auto const r = inside(level, 0,
                        {"/usr/bin/python3 -c 'import json,ssl,tempfile,subprocess;"
                         "tempfile.TemporaryFile().write(b\"x\");"
                         "print(subprocess.check_output([\"echo\",\"1+1\"]).decode(),end=\"\")'"});
  INFO(r[0].err);
  CHECK(r[0].out == "1+1\n");
}

TEST_CASE("of the creator's environment only PATH, LANG and TZ reach the commands") {
  auto const level = GENERATE(isolation::private_root, isolation::landlock_only, isolation::none);
  ::setenv("HF_TOKEN", "hf_of-the-environment", 1);
  ::setenv("TZ", "Europe/Paris", 1);
  hf::launch_options launch;
  launch.env = {{"GIVEN", "value"}};
  launch.secrets = {{"SECRET", "secret value"}};
  auto const r =
      inside(level, 0, {"env; cat /proc/self/environ /proc/$PPID/environ; true"}, launch);
  INFO(r[0].out);
  CHECK(r[0].out.find("hf_of-the-environment") == std::string::npos);
  CHECK(r[0].out.find("TZ=Europe/Paris\n") != std::string::npos);
  CHECK(r[0].out.find("PATH=") != std::string::npos);
  CHECK(r[0].out.find("GIVEN=value\n") != std::string::npos);
  CHECK(r[0].out.find("SECRET=secret value\n") != std::string::npos);
  ::unsetenv("HF_TOKEN");
  ::unsetenv("TZ");
}

TEST_CASE("the agent's token is nowhere to be found inside") {
  auto const creator = GENERATE(from_range(creators()));
  auto const level = GENERATE(isolation::private_root, isolation::landlock_only);
  auto const r = inside(level, creator,
                        {"env; set; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; "
                         "find / -path /usr -prune -o -path /proc -prune -o -path /opt -prune -o "
                         "-name token -type f -print 2>/dev/null | xargs -r cat; "
                         "ls -lR /run; true"});
  std::string const& token = r.back().out;
  REQUIRE(token.size() == 64);
  CHECK(r[0].out.find(token) == std::string::npos);
  CHECK(r[0].out.find(token.substr(0, 16)) == std::string::npos);
}

TEST_CASE(
    "a home, state and scratch in a system directory are out of reach, their neighbours are not") {
  if (::geteuid() != 0)
    SKIP("needs root to write to /opt");
  auto const level = GENERATE(isolation::private_root, isolation::landlock_only);
  struct service {
    std::string path = "/opt/hf-hidden-XXXXXX";
    service() {
      if (::mkdtemp(path.data()) == nullptr)
        throw std::runtime_error("mkdtemp failed");
      ::chmod(path.c_str(), 0755);
      for (char const* const name : {"/home", "/state", "/scratch", "/tools"}) {
        std::filesystem::create_directory(path + name);
        std::ofstream(path + name + "/file") << "content";
        ::chmod((path + name).c_str(), 0700);
        if (::chown((path + name).c_str(), ordinary_uid, ordinary_uid) != 0)
          throw std::runtime_error("chown failed");
      }
    }
    ~service() { std::filesystem::remove_all(path); }
  } const of;
  if (auto const reason = why_not(level, ordinary_uid); !reason.empty())
    SKIP(reason);
  inside_options how;
  how.uid = ordinary_uid;
  how.isolation = level;
  how.home = of.path + "/home";
  how.state_directory = of.path + "/state";
  how.scratch_directory = of.path + "/scratch";
  auto const r =
      run_inside(how,
                 {"cat $OF/home/file", "ls -A $OF/home; ls -A $OF/state",
                  "cat $OF/state/file $STATE/token", "cat $OF/scratch/file", "cat $OF/tools/file"},
                 {{"OF", of.path}});
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i, r[i].out);
    CHECK(r[i].out.empty());
  }
  CHECK(r[4].out == "content");
}

TEST_CASE("commands cannot end or stop the agent of a private root") {
  auto const r = inside(isolation::private_root, 0,
                        {"kill -KILL 1; kill -STOP 1; kill -TERM 1; kill -INT 1; kill -HUP 1; "
                         "kill -USR1 1; kill -QUIT 1; kill -KILL -1; echo survived",
                         "echo the agent answers"});
  CHECK(r[1].out == "the agent answers\n");
}

TEST_CASE("a set-uid program gives no rights in a private root") {
  if (::geteuid() != 0)
    SKIP("needs root to make a set-uid program");
  public_directory const shared;
  std::string const program = shared.path() + "/id";
  std::filesystem::copy_file("/usr/bin/id", program);
  REQUIRE(::chmod(program.c_str(), 06755) == 0);
  for (uid_t const creator : creators()) {
    hf::launch_options launch;
    launch.volumes = {{.type = "bind", .source = shared.path(), .mount_path = "/given"}};
    auto const r =
        inside(isolation::private_root, creator, {"/given/id -u; /given/id -ru"}, launch);
    CHECK(r[0].out == "1000\n1000\n");
  }
}

TEST_CASE("a sandbox of root's runs as a user that owns nothing") {
  if (::geteuid() != 0)
    SKIP("needs root");
  public_directory const shared;
  for (auto const level : {isolation::private_root, isolation::landlock_only}) {
    hf::launch_options launch;
    if (level == isolation::private_root)
      launch.volumes = {{.type = "bind", .source = shared.path(), .mount_path = "/given"}};
    auto const r = inside(level, 0, {"touch /given/made; stat -c %u $HOME; id -u"}, launch);
    struct stat found {};
    if (level == isolation::private_root) {
      REQUIRE(::stat((shared.path() + "/made").c_str(), &found) == 0);
      CHECK(found.st_uid >= 1000);
    } else {
      CHECK(std::stoul(r[0].out) >= 1000);
    }
  }
}

TEST_CASE("volumes show a directory of the host, writable or not") {
  public_directory const shared;
  std::ofstream(shared.path() + "/given.txt") << "from outside";
  hf::launch_options launch;
  launch.volumes = {
      {.type = "bind", .source = shared.path(), .mount_path = "/data/rw"},
      {.type = "bind", .source = shared.path(), .mount_path = "/data/ro", .read_only = true},
      {.type = "bind", .source = shared.path() + "/given.txt", .mount_path = "/home/sandbox/f"}};
  auto const r = inside(isolation::private_root, 0,
                        {"cat /data/rw/given.txt && echo more > /data/rw/new", "cat /data/ro/new",
                         "echo x > /data/ro/x", "cat ~/f"},
                        launch);
  CHECK(r[0].out == "from outside");
  CHECK(r[0].exit_code == 0);
  CHECK(r[1].out == "more\n");
  CHECK(r[2].exit_code != 0);
  CHECK(r[3].out == "from outside");
  CHECK(std::filesystem::exists(shared.path() + "/new"));
  CHECK_FALSE(std::filesystem::exists(shared.path() + "/x"));
}

TEST_CASE("a sandbox without network reaches its own servers and no others") {
  host_server const server;
  std::string const connect =
      perl("socket(S, AF_INET, SOCK_STREAM, 0) && connect(S, pack_sockaddr_in(" +
           std::to_string(server.port) + ", inet_aton(\"127.0.0.1\")))");
  std::string const own = perl(
      "socket(L, AF_INET, SOCK_STREAM, 0) && bind(L, pack_sockaddr_in(8000, "
      "inet_aton(\"127.0.0.1\"))) && listen(L, 1) && socket(S, AF_INET, SOCK_STREAM, 0) && "
      "connect(S, pack_sockaddr_in(8000, inet_aton(\"127.0.0.1\")))");
  hf::launch_options launch;
  launch.network = false;
  auto const off = inside(isolation::private_root, 0, {connect, own, "cat /proc/net/dev"}, launch);
  CHECK(off[0].out.find("REACHED") == std::string::npos);
  CHECK(off[1].out == "REACHED\n");
  CHECK(off[2].out.find("eth") == std::string::npos);
  auto const on = inside(isolation::private_root, 0, {connect});
  CHECK(on[0].out == "REACHED\n");
}

TEST_CASE("where namespaces are denied, create refuses and says what to do") {
#if defined(__SANITIZE_THREAD__)
  SKIP("ThreadSanitizer's own thread keeps a process out of a user namespace");
#endif
  if (auto const reason = why_not(isolation::private_root, ordinary_uid * (::geteuid() == 0));
      !reason.empty())
    SKIP(reason);
  public_agent const agent;
  std::string const text = in_child(::geteuid() == 0 ? ordinary_uid : 0, [&]() -> std::string {
    // In a user namespace of its own the test may forbid further ones.
    auto const write = [](char const* path, std::string const& content) {
      std::ofstream out(path);
      out << content << std::flush;
      if (!out)
        throw std::runtime_error(std::string("cannot write ") + path);
    };
    auto const uid = std::to_string(::geteuid());
    ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      throw std::runtime_error("unshare failed");
    write("/proc/self/setgroups", "deny");
    write("/proc/self/uid_map", uid + " " + uid + " 1");
    write("/proc/sys/user/max_user_namespaces", "0");
    hf::process_launcher_options options;
    options.agent = agent.path();
    try {
      auto sb = local_sandbox::create({}, hf::process_launcher(options));
    } catch (hf::error const& e) {
      return std::string(to_string(e.kind())) + ": " + e.what();
    }
    return "no error";
  });
  INFO(text);
  CHECK(text.starts_with("isolation_unavailable: "));
  CHECK(text.find("isolation::private_root is not available") != std::string::npos);
  CHECK(text.find("user.max_user_namespaces") != std::string::npos);
  CHECK(text.find("isolation::landlock_only") != std::string::npos);
  CHECK(text.find("docker_launcher") != std::string::npos);
}
