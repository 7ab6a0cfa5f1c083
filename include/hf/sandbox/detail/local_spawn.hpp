#ifndef HF_SANDBOX_DETAIL_LOCAL_SPAWN_HPP
#define HF_SANDBOX_DETAIL_LOCAL_SPAWN_HPP

#include <hf/sandbox/detail/local_state.hpp>
#include <hf/sandbox/detail/signal_hold.hpp>
#include <hf/sandbox/detail/unique_fd.hpp>
#include <hf/sandbox/error.hpp>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// The first process of a start, which ends as soon as another one has taken over.
template <class = void>
class basic_local_child {
 public:
  basic_local_child() = default;
  explicit basic_local_child(pid_t pid) noexcept : pid_(pid) {}
  basic_local_child(basic_local_child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  basic_local_child& operator=(basic_local_child&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~basic_local_child() { end({}); }

  /// Waits for its end. A program that is no agent may never come to it: at the deadline it is
  /// killed, with all of its process group.
  void end(std::chrono::steady_clock::time_point deadline) noexcept {
    if (pid_ == 0)
      return;
    pid_t gone = 0;
    while ((gone = ::waitpid(pid_, nullptr, WNOHANG)) == 0 || (gone < 0 && errno == EINTR)) {
      if (std::chrono::steady_clock::now() >= deadline) {
        ::kill(-pid_, SIGKILL);
        while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
        }
        break;
      }
      ::poll(nullptr, 0, 1);
    }
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};
using local_child = basic_local_child<>;

/// What the creator holds of a sandbox that it has started.
struct local_start {
  /// When the last copy of this closes, the keeper ends the sandbox; a byte sent before makes it
  /// live on.
  unique_fd lifeline;
  /// Tells how the start goes; ends when the keeper is gone.
  unique_fd status;
  local_child child = {};
};

/// Descriptors of a started agent, beside 0 (nothing), 1 (nothing) and 2 (the status pipe).
inline constexpr int spawned_lifeline_fd = 3;
inline constexpr int spawned_status_fd = 4;
inline constexpr int spawned_lock_fd = 5;

/// Starts a program in a session of its own with these arguments and exactly this environment, and
/// with the three descriptors.
///
/// Uses posix_spawn, which is safe in a program with many threads.
template <class Text = char>
local_start spawn_local_agent(std::string const& program, std::vector<std::string> const& arguments,
                              std::vector<std::string> const& environment, int lock_fd) {
  // Sources lie above the targets, so that no dup2 overwrites another's source.
  auto const above = [](int fd) {
    unique_fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 16));
    if (!copy)
      throw local_error("cannot start the agent", errno);
    return copy;
  };
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw local_error("cannot start the agent", errno);
  local_start started;
  started.lifeline.reset(ends[0]);
  unique_fd const lifeline_end(ends[1]);
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw local_error("cannot start the agent", errno);
  started.status.reset(ends[0]);
  unique_fd const status_end(ends[1]);
  ::fcntl(started.status.get(), F_SETFL, O_NONBLOCK);
  unique_fd const child_lifeline = above(lifeline_end.get());
  unique_fd const child_status = above(status_end.get());
  unique_fd const child_lock = above(lock_fd);

  std::vector<Text*> argv;
  std::vector<Text*> envp;
  for (auto const& text : arguments)
    argv.push_back(const_cast<Text*>(text.c_str()));
  for (auto const& text : environment)
    envp.push_back(const_cast<Text*>(text.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  struct spawn_plan {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    spawn_plan() {
      ::posix_spawn_file_actions_init(&actions);
      ::posix_spawnattr_init(&attributes);
    }
    spawn_plan(spawn_plan const&) = delete;
    spawn_plan& operator=(spawn_plan const&) = delete;
    ~spawn_plan() {
      ::posix_spawn_file_actions_destroy(&actions);
      ::posix_spawnattr_destroy(&attributes);
    }
  } plan;
  ::posix_spawn_file_actions_addopen(&plan.actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&plan.actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&plan.actions, child_status.get(), 2);
  ::posix_spawn_file_actions_adddup2(&plan.actions, child_lifeline.get(), spawned_lifeline_fd);
  ::posix_spawn_file_actions_adddup2(&plan.actions, child_status.get(), spawned_status_fd);
  ::posix_spawn_file_actions_adddup2(&plan.actions, child_lock.get(), spawned_lock_fd);
  // Until it has its own session the child is of the creator's group, which Ctrl-C reaches whole:
  // that must not end it before it knows what it has to clear away. The agent unblocks these
  // itself.
  sigset_t const blocked = ending_signals();
  sigset_t all;
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&plan.attributes, &blocked);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &all);
  // A session of its own: Ctrl-C reaches the creator only, which then decides.
  ::posix_spawnattr_setflags(
      &plan.attributes,
      static_cast<short>(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  pid_t child = 0;
  if (int const number = ::posix_spawn(&child, program.c_str(), &plan.actions, &plan.attributes,
                                       argv.data(), envp.data()))
    throw local_error("cannot start the agent " + program, number);
  started.child = local_child(child);
  return started;
}

}  // namespace hf::detail

#endif
