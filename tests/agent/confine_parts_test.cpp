#include "confine/hidden.hpp"
#include "confine/settings.hpp"
#include "confine/syscall_policy.hpp"
#include "confine/system.hpp"
#include "confine/volumes.hpp"

#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace hf::agent::confine;
namespace fs = std::filesystem;

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t native = AUDIT_ARCH_X86_64;
#else
constexpr std::uint32_t native = AUDIT_ARCH_AARCH64;
#endif

/// What a filter answers to a call: 0 for "allowed", else the error number; -1 for "killed".
int answer(std::vector<sock_filter> const& program, long call,
           std::vector<std::uint64_t> arguments = {}, std::uint32_t architecture = native) {
  seccomp_data data{};
  data.nr = static_cast<int>(call);
  data.arch = architecture;
  for (std::size_t i = 0; i < arguments.size(); ++i)
    data.args[i] = arguments[i];
  std::uint32_t value = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    auto const& step = program[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&value, reinterpret_cast<char const*>(&data) + step.k, sizeof value);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        value &= step.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += value == step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += value >= step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (value & step.k) != 0 ? step.jt : step.jf;
        break;
      case BPF_RET | BPF_K:
        if (step.k == SECCOMP_RET_ALLOW)
          return 0;
        if ((step.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
          return static_cast<int>(step.k & SECCOMP_RET_DATA);
        return -1;
      default:
        FAIL("an instruction that the filter is not known to use");
    }
  }
  FAIL("the filter has no end");
  return -1;
}

struct scratch {
  scratch() {
    char pattern[] = "/tmp/hf-confine-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~scratch() { fs::remove_all(path); }
  std::string path;
};

}  // namespace

TEST_CASE("the system call filter: what is denied, and what its neighbours are", "[confine]") {
  auto const filter = common_policy(true);
  CHECK(answer(filter, SYS_read) == 0);
  CHECK(answer(filter, SYS_mount) == EPERM);
  CHECK(answer(filter, sys_openat2) == ENOSYS);
  CHECK(answer(filter, SYS_read, {}, AUDIT_ARCH_I386) == -1);

  CHECK(answer(filter, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}) == 0);
  CHECK(answer(common_policy(false), SYS_socket, {AF_UNIX, SOCK_STREAM, 0}) == EAFNOSUPPORT);
  CHECK(answer(filter, SYS_socket, {AF_INET, SOCK_STREAM, 6}) == 0);
  CHECK(answer(filter, SYS_socket, {AF_NETLINK, SOCK_RAW, 0}) == 0);
  for (std::uint64_t protocol = 1; protocol < 23; ++protocol)
    CHECK(answer(filter, SYS_socket, {AF_NETLINK, SOCK_RAW, protocol}) == EPROTONOSUPPORT);
  CHECK(answer(filter, SYS_socket, {AF_PACKET, SOCK_RAW, 0}) == EAFNOSUPPORT);

  CHECK(answer(filter, SYS_fchmod, {3, 0755}) == 0);
  CHECK(answer(filter, SYS_fchmod, {3, 01777}) == 0);
  for (std::uint64_t const bits : {04000, 02000, 06755}) {
    CHECK(answer(filter, SYS_fchmod, {3, bits}) == EPERM);
    CHECK(answer(filter, SYS_fchmodat, {3, 0, bits}) == EPERM);
    CHECK(answer(filter, sys_fchmodat2, {3, 0, bits, 0}) == EPERM);
    CHECK(answer(filter, SYS_mknodat, {3, 0, S_IFREG | bits}) == EPERM);
    CHECK(answer(filter, SYS_openat, {3, 0, O_WRONLY | O_CREAT, bits}) == EPERM);
    CHECK(answer(filter, SYS_openat, {3, 0, O_WRONLY | O_TMPFILE, bits}) == EPERM);
    // Nothing is created, and nobody set the argument.
    CHECK(answer(filter, SYS_openat, {3, 0, O_RDONLY, bits}) == 0);
    CHECK(answer(filter, SYS_openat, {3, 0, O_RDONLY | O_DIRECTORY, bits}) == 0);
#if defined(__x86_64__)
    CHECK(answer(filter, SYS_chmod, {0, bits}) == EPERM);
    CHECK(answer(filter, SYS_creat, {0, bits}) == EPERM);
    CHECK(answer(filter, SYS_mknod, {0, S_IFREG | bits}) == EPERM);
    CHECK(answer(filter, SYS_open, {0, O_CREAT, bits}) == EPERM);
    CHECK(answer(filter, SYS_open, {0, O_RDONLY, bits}) == 0);
#endif
  }
  CHECK(answer(filter, SYS_openat, {3, 0, O_WRONLY | O_CREAT, 0644}) == 0);
  CHECK(answer(filter, SYS_clone, {SIGCHLD}) == 0);
  CHECK(answer(filter, SYS_clone, {CLONE_NEWUSER}) == EPERM);
  CHECK(answer(filter, SYS_unshare, {CLONE_NEWNS}) == EPERM);
}

TEST_CASE("a volume's source: links of root's are followed, others refused", "[confine]") {
  scratch const base;
  fs::create_directories(base.path + "/real/inner");
  std::ofstream(base.path + "/real/file") << "x";
  std::string resolved;
  CHECK(resolve_source(base.path + "/real/./inner/../file", resolved).empty());
  CHECK(resolved == base.path + "/real/file");
  CHECK(resolve_source("/", resolved).empty());
  CHECK(resolved == "/");
  CHECK(resolve_source(base.path + "/none", resolved) == "No such file or directory");
  CHECK(resolve_source(base.path + "/real/file/x", resolved) == "Not a directory");
  fs::create_symlink("real", base.path + "/link");
  fs::create_symlink(base.path + "/loop", base.path + "/loop");
  if (::geteuid() != 0) {
    CHECK(resolve_source(base.path + "/link/file", resolved)
              .find(base.path + "/link is a symbolic link") == 0);
    return;
  }
  CHECK(resolve_source(base.path + "/link/file", resolved).empty());
  CHECK(resolved == base.path + "/real/file");
  CHECK(resolve_source(base.path + "/loop", resolved) == "too many symbolic links");
  REQUIRE(::lchown((base.path + "/link").c_str(), 12'345, 12'345) == 0);
  CHECK(resolve_source(base.path + "/link/file", resolved)
            .find(base.path + "/link is a symbolic link") == 0);
}

TEST_CASE("what is hidden is found where a volume shows it", "[confine]") {
  auto const where = [](volume const& v, std::string const& hidden) {
    auto const found = hidden_in(v, {hidden});
    return found.empty() ? std::string() : found.front().target;
  };
  CHECK(where({true, "/tmp", "/host"}, "/tmp/hf-sandbox-0") == "/host/hf-sandbox-0");
  CHECK(where({true, "/", "/host"}, "/tmp/hf-sandbox-0") == "/host/tmp/hf-sandbox-0");
  CHECK(where({true, "/tmp/hf-sandbox-0", "/host"}, "/tmp/hf-sandbox-0") == "/host");
  CHECK(where({true, "/tm", "/host"}, "/tmp/hf-sandbox-0").empty());
  CHECK(where({true, "/tmp/other", "/host"}, "/tmp/hf-sandbox-0").empty());
}

TEST_CASE("states of sandboxes are hidden, not what lies beside them", "[confine]") {
  scratch const base;
  for (char const* const name : {"states/one", "scratch/hf-sandbox-0-one",
                                 "scratch/hf-sandbox-0-two", "scratch/project", "hf-sandbox-7"})
    fs::create_directories(base.path + "/" + name);
  settings how;
  how.state = base.path + "/states/one";
  how.scratch = base.path + "/scratch/hf-sandbox-0-one";
  auto const states = state_directories(how);
  auto const hidden = [&](std::string const& path) {
    for (auto const& state : states)
      if (is_within(base.path + path, state))
        return true;
    return false;
  };
  CHECK(hidden("/states/one"));
  CHECK(hidden("/states/two"));
  CHECK(hidden("/scratch/hf-sandbox-0-one/home"));
  CHECK(hidden("/scratch/hf-sandbox-0-two"));
  CHECK(hidden("/hf-sandbox-7"));
  CHECK_FALSE(hidden("/scratch/project"));
  CHECK_FALSE(hidden("/scratch"));
}

TEST_CASE("the flags of the process launcher are taken out, and wrong ones named", "[confine]") {
  auto const parse = [](std::vector<std::string> words, settings& into, int& left) {
    std::vector<char*> argv;
    for (auto& word : words)
      argv.push_back(word.data());
    argv.push_back(nullptr);
    left = static_cast<int>(words.size());
    return parse_settings(left, argv.data(), into);
  };
  std::vector<std::string> const needed = {
      "agent",           "--confine=private-root", "--state=/s", "--scratch=/w",
      "--lifeline-fd=3", "--status-fd=4",          "--lock-fd=5"};
  auto const with = [&](std::vector<std::string> more) {
    auto words = needed;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  int left = 0;
  settings plain;
  CHECK(parse(with({"--allow-no-auth", "--volume-rw", "/a", "/b", "--volume-ro", "/c", "/d"}),
              plain, left)
            .empty());
  CHECK(left == 2);
  REQUIRE(plain.volumes.size() == 2);
  CHECK_FALSE(plain.volumes[0].read_only);
  CHECK(plain.volumes[1].source == "/c");
  for (auto const& wrong : std::vector<std::vector<std::string>>{{"--volume-rw", "/a"},
                                                                 {"--volume-rw", "a", "/b"},
                                                                 {"--lifetime=-1"},
                                                                 {"--lifeline-fd=2"},
                                                                 {"--confine=everything"},
                                                                 {"--state=relative"}}) {
    settings ignored;
    CHECK_FALSE(parse(with(wrong), ignored, left).empty());
  }
  settings ignored;
  CHECK_FALSE(parse({"agent", "--confine=none"}, ignored, left).empty());
}
