#include "confine/entry.hpp"

#include "confine/agent_side.hpp"
#include "confine/keeper.hpp"
#include "confine/system.hpp"
#include "confine/unused_uid.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

namespace hf::agent::confine {

namespace {

constexpr int usage_error = 64;  // EX_USAGE

int listen_at(char const* name, report const& status) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, name, sizeof address.sun_path - 1);
  int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 4096) != 0)
    status.fail(std::string("listen at agent.sock: ") + std::strerror(errno));
  return fd;
}

/// A pipe, close-on-exec.
struct channel {
  int read_end = -1;
  int write_end = -1;

  explicit channel(report const& status) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      status.fail(std::string("pipe: ") + std::strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
  }
};

void keep_only(settings const& how) {
  int kept[] = {how.lifeline_fd, how.status_fd, how.lock_fd};
  std::sort(std::begin(kept), std::end(kept));
  close_all_but(kept, 3);
  for (int const fd : kept)
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/// Goes on in a grandchild, so that the program that started the sandbox has no child for life.
void detach(report const& status) {
  pid_t const child = fork_single_threaded();
  if (child < 0)
    status.fail(std::string("fork: ") + std::strerror(errno));
  if (child > 0)
    ::_exit(0);
}

/// The directory above may be one that others write to: what lies there now must be what the
/// launcher has made.
int open_scratch(settings const& how, report const& status) {
  int const fd = ::open(how.scratch.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    status.fail("open " + how.scratch + ": " + std::strerror(errno));
  struct stat found {};
  if (::fstat(fd, &found) != 0 || found.st_uid != ::geteuid())
    status.fail(how.scratch + " is not this user's");
  return fd;
}

uid_t choose_user(settings const& how, int scratch, report const& status) {
  if (::geteuid() != 0 || how.mode == mode::none || is_only_user())
    return 0;
  uid_t const uid = unused_uid();
  if (uid == 0)
    status.fail("no unused user id was found to drop root's rights to");
  if (::fchown(scratch, uid, uid) != 0)
    status.fail("chown " + how.scratch + ": " + std::strerror(errno));
  return uid;
}

}  // namespace

entry enter(int& argc, char** argv) {
  if (!asked_for(argc, argv))
    return {};
  settings how;
  if (std::string const wrong = parse_settings(argc, argv, how); !wrong.empty()) {
    write_all(2, "hf-sandbox-agent: " + wrong + "\n");
    ::_exit(usage_error);
  }
  // A creator that is gone already is noticed by its lifeline.
  ::signal(SIGPIPE, SIG_IGN);
  report const status(how.status_fd);
  // The creator may be gone before there is a keeper; one that a report to nobody ends would leave
  // the directories behind.
  ::signal(SIGPIPE, SIG_IGN);
  keep_only(how);
  ::umask(0077);
  detach(status);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  status.line("keeper " + std::to_string(::getpid()));

  if (::chdir(how.state.c_str()) != 0)
    status.fail("chdir " + how.state);
  std::string const token = read_file("token");
  if (token.empty())
    status.fail("the token cannot be read");
  int const listening = listen_at("agent.sock", status);
  int const scratch = open_scratch(how, status);
  uid_t const uid = choose_user(how, scratch, status);
  // The agent finds the scratch directory as its current one, also where it may not go by path.
  if (::fchdir(scratch) != 0)
    status.fail("chdir " + how.scratch);
  ::close(scratch);

  channel const log(status);
  channel const agent_pid(status);
  channel const alive(status);
  sigset_t const signals = keeper_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  pid_t const child = fork_single_threaded();
  if (child < 0)
    status.fail(std::string("fork: ") + std::strerror(errno));
  if (child > 0) {
    for (int const fd : {listening, log.write_end, agent_pid.write_end, alive.read_end})
      ::close(fd);
    if (::chdir("/") != 0)
      status.fail("chdir /");
    for (int const fd : {1, 2})
      ::dup2(0, fd);
    keep(how, agent_pid.read_end, log.read_end, status);
  }

  ::dup2(log.write_end, 1);
  ::dup2(log.write_end, 2);
  for (int const fd : {log.read_end, log.write_end, agent_pid.read_end, alive.write_end,
                       how.lifeline_fd, how.lock_fd})
    ::close(fd);
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);

  // The paths of the host are nobody's business inside.
  for (char* const flag : how.consumed)
    std::memset(flag, 0, std::strlen(flag));
  std::size_t const length = std::strlen(argv[0]);
  std::memset(argv[0], 0, length);
  std::strncpy(argv[0], "hf-sandbox-agent", length);
  std::string const home = become_agent(how, uid, agent_pid.write_end, status);
  // What the launch options set is left as it is.
  ::setenv("HOME", home.c_str(), 0);
  ::setenv("USER", "sandbox", 0);
  ::setenv("LOGNAME", "sandbox", 0);
  ::setenv("SBX_TOKEN", token.c_str(), 1);
  if (::chdir(home.c_str()) != 0)
    status.fail("chdir " + home);
  status.line("ready");
  ::close(status.fd());

  entry result;
  result.launched = true;
  result.listen_fd = listening;
  result.keeper_fd = alive.read_end;
  result.own_pid_namespace = how.mode == mode::private_root;
  return result;
}

}  // namespace hf::agent::confine
