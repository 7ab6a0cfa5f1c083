#include "support/confined.hpp"
#include "support/scale.hpp"

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

// A user whose sandboxes run with his own user id: what they write is his, links included.
constexpr uid_t some_user = 12'345;

uid_t creator() {
  return ::geteuid() == 0 ? some_user : 0;
}

std::vector<inside_result> inside(std::vector<hf::volume> volumes,
                                  std::vector<std::string> const& scripts) {
  if (auto const reason = why_not(hf::isolation::private_root, creator()); !reason.empty())
    SKIP(reason);
  inside_options how;
  how.uid = creator();
  how.launch.volumes = std::move(volumes);
  return run_inside(how, scripts);
}

/// What `create` said; empty when it made the sandbox.
std::string refusal(std::vector<hf::volume> volumes) {
  try {
    inside(std::move(volumes), {});
    return {};
  } catch (std::runtime_error const& e) {
    return e.what();
  }
}

hf::volume mounted(std::string source, std::string target, bool read_only = false) {
  return {.type = "bind",
          .source = std::move(source),
          .mount_path = std::move(target),
          .read_only = read_only};
}

void spill(std::string const& path, std::string const& text) {
  std::ofstream(path) << text;
  ::chmod(path.c_str(), 0666);
}

std::string content(std::string const& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A directory that the creator's sandboxes may write to, and one beside it that they must not.
struct project {
  project() : path(shared.path() + "/project"), outside(shared.path() + "/outside") {
    for (auto const& directory : {path, outside}) {
      fs::create_directory(directory);
      ::chmod(directory.c_str(), 0777);
    }
    spill(outside + "/secret", "SECRET");
  }
  public_directory shared;
  std::string path;
  std::string outside;
};

std::string perl(std::string const& program) {
  return "perl -e '" + program + "' 2>&1";
}

}  // namespace

TEST_CASE("a file volume inside a writable volume leaves the host's file as it is") {
  project const project;
  spill(project.path + "/.env", "the host's");
  spill(project.outside + "/env", "the volume's");
  auto const volumes = std::vector{mounted(project.path, "/work"),
                                   mounted(project.outside + "/env", "/work/.env", true)};
  auto const r = inside(volumes, {"cat /work/.env", "echo x > /work/.env"});
  CHECK(r[0].out == "the volume's");
  CHECK(r[1].exit_code != 0);
  CHECK(content(project.path + "/.env") == "the host's");

  fs::remove(project.path + "/.env");
  auto const said = refusal(volumes);
  CHECK(said.find("/work/.env") != std::string::npos);
  CHECK(said.find("does not exist") != std::string::npos);
  CHECK_FALSE(fs::exists(project.path + "/.env"));
}

TEST_CASE("links that an earlier sandbox planted lead no volume's target out of its volume") {
  project const project;
  spill(project.outside + "/given", "given");
  fs::create_directory(project.path + "/conf");
  ::chmod((project.path + "/conf").c_str(), 0777);
  fs::create_directory(project.path + "/sub");
  ::chmod((project.path + "/sub").c_str(), 0777);
  inside({mounted(project.path, "/work")},
         {"rmdir /work/conf && ln -s " + project.outside +
          " /work/conf && "
          "ln -s /proc/self/cwd/root/usr/bin /work/sub/out && ln -s /usr/bin /work/sub/bin && "
          "ln -s ../../usr/bin /work/sub/up"});
  REQUIRE(fs::is_symlink(project.path + "/conf"));

  for (std::string const target : {"/work/conf/new.json", "/work/conf/secret", "/work/conf"}) {
    INFO(target);
    auto const said =
        refusal({mounted(project.path, "/work"), mounted(project.outside + "/given", target)});
    CHECK(said.find("is a symbolic link") != std::string::npos);
    CHECK(said.find(target) != std::string::npos);
  }
  for (std::string const target : {"/work/sub/out", "/work/sub/bin", "/work/sub/up",
                                   "/work/sub/bin/new", "/work/conf/new/directory"}) {
    INFO(target);
    CHECK(refusal({mounted(project.path, "/work"), mounted(project.outside, target)})
              .find("is a symbolic link") != std::string::npos);
  }
  CHECK(content(project.outside + "/secret") == "SECRET");
  CHECK_FALSE(fs::exists(project.outside + "/new.json"));
  CHECK_FALSE(fs::exists(project.outside + "/new"));
}

TEST_CASE("a source that an earlier sandbox has made a link is refused by name") {
  project const project;
  fs::create_directory(project.path + "/data");
  ::chmod((project.path + "/data").c_str(), 0777);
  inside({mounted(project.path, "/work")},
         {"rmdir /work/data && ln -s " + project.outside + " /work/data"});
  for (auto const& volumes :
       {std::vector{mounted(project.path + "/data", "/data")},
        std::vector{mounted(project.path, "/work"), mounted(project.path + "/data", "/data")},
        std::vector{mounted(project.path + "/data/secret", "/data")},
        std::vector{mounted(project.path + "/data/../data/secret", "/data")}}) {
    auto const said = refusal(volumes);
    CHECK(said.find(project.path + "/data is a symbolic link") != std::string::npos);
  }
}

TEST_CASE("a source that is exchanged for a link while sandboxes start shows nothing else") {
  project const project;
  auto const source = project.path + "/data";
  fs::create_directory(source);
  int const rounds = scaled(300, 15);
  WARN("rounds: " << rounds);
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    std::error_code ignored;
    auto const link = project.path + "/link";
    while (!stop) {
      fs::create_symlink(project.outside, link, ignored);
      // Not root's, which would be followed.
      if (::geteuid() == 0 && ::lchown(link.c_str(), some_user, some_user) != 0)
        return;
      fs::rename(source, project.path + "/aside", ignored);
      fs::rename(link, source, ignored);
      fs::remove(source, ignored);
      fs::rename(project.path + "/aside", source, ignored);
    }
  });
  int shown = 0;
  for (int i = 0; i < rounds; ++i) {
    try {
      auto const r = inside({mounted(source, "/data", true)}, {"ls /data"});
      CHECK(r[0].out.empty());
      ++shown;
    } catch (std::runtime_error const&) {
    }
  }
  stop = true;
  swapper.join();
  WARN("started: " << shown);
}

TEST_CASE("volumes in volumes, in the home and behind links of the root are shown") {
  project const project;
  fs::create_directories(project.path + "/sub/deep");
  spill(project.path + "/sub/own", "project");
  auto const r =
      inside({mounted(project.outside, "/work/sub/deep"), mounted(project.path, "/work"),
              mounted(project.outside, "/home/sandbox/a/b"), mounted(project.outside, "/var/run/c"),
              mounted(project.outside + "/secret", "/tmp/new/file")},
             {"cat /work/sub/own /work/sub/deep/secret ~/a/b/secret /run/c/secret "
              "/tmp/new/file"});
  CHECK(r[0].out == "projectSECRETSECRETSECRETSECRET");
}

TEST_CASE("links that root made are followed to a source") {
  if (::geteuid() != 0)
    SKIP("needs root to make such a link");
  project const project;
  fs::create_symlink(project.outside, project.shared.path() + "/linked");
  auto const r =
      inside({mounted(project.shared.path() + "/linked", "/data")}, {"cat /data/secret"});
  CHECK(r[0].out == "SECRET");
}

TEST_CASE("directories of sandboxes' states are empty in every volume") {
  auto const r =
      inside({mounted("/tmp", "/host-tmp"), mounted("/", "/host", true)},
             {"for d in /host-tmp/hf-sandbox-* /host/tmp/hf-sandbox-*; do ls -A $d; done",
              "ls /host-tmp$STATE /host$STATE; find /host/tmp /host-tmp -name token "
              "-o -name agent.sock 2>/dev/null",
              "ls -d /host-tmp/hf-sandbox-* | wc -l"});
  CHECK(r[0].out.empty());
  CHECK(r[1].out.empty());
  CHECK(std::stoi(r[2].out) >= 1);
  auto const states = "/tmp/hf-sandbox-" + std::to_string(creator() == 0 ? ::geteuid() : creator());
  CHECK(refusal({mounted(states, "/states")}).find("belongs to sandboxes") != std::string::npos);
}

TEST_CASE("a volume beside the scratch directories is shown, and these are empty in it") {
  if (auto const reason = why_not(hf::isolation::private_root, creator()); !reason.empty())
    SKIP(reason);
  project const project;
  fs::create_directory(project.path + "/hf-sandbox-1-other");
  spill(project.path + "/hf-sandbox-1-other/file", "OTHER");
  spill(project.path + "/own", "own");
  inside_options how;
  how.uid = creator();
  how.scratch_directory = project.path;
  how.launch.volumes = {mounted(project.path, "/all"), mounted(project.path + "/own", "/own")};
  auto const r = run_inside(how, {"cat /all/own /own", "ls -d /all/hf-sandbox-* | wc -l",
                                  "cat /all/hf-sandbox-*/file", "ls -A /all/hf-sandbox-*/"});
  CHECK(r[0].out == "ownown");
  CHECK(std::stoi(r[1].out) == 2);
  CHECK(r[2].out.empty());
  CHECK(r[3].out.find("home") == std::string::npos);
  how.launch.volumes = {mounted(project.path + "/hf-sandbox-1-other", "/other")};
  CHECK_THROWS(run_inside(how, {}));
}

TEST_CASE("sockets in a directory of the host are reached only when they are asked for by name") {
  project const project;
  std::string const path = project.path + "/s";
  int const listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listening, 8) == 0);
  ::chmod(path.c_str(), 0777);
  auto const connect = [](std::string const& to) {
    return perl(
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, "
        "pack_sockaddr_un(\"" +
        to + "\")) && print \"REACHED\"");
  };
  for (bool const read_only : {true, false}) {
    auto const r = inside({mounted(project.path, "/work", read_only)}, {connect("/work/s")});
    CHECK(r[0].out.find("REACHED") == std::string::npos);
  }
  auto const r = inside({mounted(path, "/given.sock"), mounted(project.path, "/work")},
                        {connect("/given.sock")});
  CHECK(r[0].out == "REACHED");
  ::close(listening);
}

TEST_CASE("no set-id bit comes into a volume") {
  project const project;
  auto const r = inside(
      {mounted(project.path, "/work")},
      {"cd /work; for m in 4755 2755 6777; do touch f$m; chmod $m f$m; install -m $m /bin/true "
       "i$m; done; " +
           perl("use Fcntl; sysopen(F, \"p\", O_CREAT|O_WRONLY, 04755); "
                "syscall(90, \"q\", 06755); syscall(85, \"r\", 04755); "
                "syscall(133, \"s\", 0104755, 0); syscall(259, -100, \"t\", 0104755, 0); "
                "syscall(452, -100, \"f4755\", 04755, 0); syscall(268, -100, \"f4755\", 02755)"),
       "cd /work; touch plain && chmod 755 plain && mkdir -m 1777 sticky && stat -c %a plain "
       "sticky"});
  CHECK(r[1].out == "755\n1777\n");
  for (auto const& entry : fs::directory_iterator(project.path)) {
    struct stat found {};
    REQUIRE(::lstat(entry.path().c_str(), &found) == 0);
    INFO(entry.path());
    CHECK((found.st_mode & (S_ISUID | S_ISGID)) == 0);
  }
  CHECK(fs::exists(project.path + "/f4755"));
}

TEST_CASE("netlink inside a sandbox is that of routes only") {
  auto const r = inside({}, {perl("for (0..22) { socket(S, 16, 3, $_) && print \"$_ \" }")});
  CHECK(r[0].out == "0 ");
}

TEST_CASE("a sandbox leaves most of its user's kernel quotas to others") {
  rlimit pending{};
  REQUIRE(::getrlimit(RLIMIT_SIGPENDING, &pending) == 0);
  auto const r = inside({}, {perl("$n = 0; while (syscall(294, 0) >= 0) { last if ++$n > 1000 } "
                                  "print $n"),
                             "ulimit -i 2>/dev/null || bash -c 'ulimit -i'"});
  std::ifstream all("/proc/sys/fs/inotify/max_user_instances");
  int most = 0;
  all >> most;
  CHECK(std::stoi(r[0].out) <= most / 4);
  CHECK(std::stoi(r[0].out) > 0);
  CHECK(r[1].out == std::to_string(pending.rlim_cur / 4) + "\n");
}

TEST_CASE("nothing inside names the machine's paths or the computers of its network") {
  auto const r = inside({}, {"tr '\\0' ' ' < /proc/1/cmdline", "cat /etc/hosts",
                             "readlink /proc/1/exe; cat /proc/1/environ"});
  CHECK(r[0].out.find('/') == std::string::npos);
  CHECK(r[0].out.find("hf-sandbox-agent") == 0);
  CHECK(r[1].out == "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n");
  CHECK(r[2].out.empty());
}
