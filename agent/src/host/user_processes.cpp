#include "host/user_processes.hpp"

#include "detail/unique_fd.hpp"
#include "exec/raw_syscall.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

namespace hf::agent {
namespace {

// Owns no process and no file: see `kill_all`.
constexpr uid_t nobody_else = 65'001;

// Runs in a process that may share the agent's memory. Only its effective id is the sandbox's, so
// that it may signal the sandbox's processes while these may not signal it; real and saved ids
// belong to nobody, so that it reaches no other process.
HF_AGENT_BARE int kill_all(void* uid) {
  long const target = static_cast<long>(*static_cast<uid_t const*>(uid));
  if (raw_syscall(SYS_setresuid, nobody_else, target, nobody_else) == 0)
    raw_syscall(SYS_kill, -1, SIGKILL);
  // Its last moments must not be taken for a process of the sandbox.
  raw_syscall(SYS_setresuid, nobody_else, nobody_else, nobody_else);
  for (;;)
    raw_syscall(SYS_exit_group, 0);
}

// The reaper collects the process.
void send_kill_to_all(uid_t uid) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
#ifdef HF_AGENT_FORK_ONLY
  if (::fork() == 0)
    kill_all(&uid);
#else
  constexpr std::size_t stack_size = 16 * 1024;
  auto const stack = std::make_unique<char[]>(stack_size);
  auto* const top = reinterpret_cast<char*>(
      reinterpret_cast<std::uintptr_t>(stack.get() + stack_size) & ~std::uintptr_t{15});
  ::clone(kill_all, top, CLONE_VM | CLONE_VFORK | SIGCHLD, &uid);
#endif
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

struct process_ids {
  uid_t uid[4] = {};
  bool dead = false;
};

// "State:" comes before "Uid:" in the file, and the name before both, on a line of its own whose
// line breaks the kernel escapes.
bool read_ids(int proc, char const* pid, process_ids& ids) {
  char path[32];
  std::snprintf(path, sizeof path, "%.20s/status", pid);
  unique_fd const file(::openat(proc, path, O_RDONLY | O_CLOEXEC));
  if (!file)
    return false;
  char text[1024];
  ssize_t const n = ::read(file.get(), text, sizeof text - 1);
  if (n <= 0)
    return false;
  text[n] = '\0';
  if (char const* const state = std::strstr(text, "\nState:\t"))
    ids.dead = state[8] == 'Z' || state[8] == 'X';
  char const* const line = std::strstr(text, "\nUid:\t");
  return line != nullptr && std::sscanf(line + 6, "%u %u %u %u", &ids.uid[0], &ids.uid[1],
                                        &ids.uid[2], &ids.uid[3]) == 4;
}

template <class OnIds>
void for_each_process(OnIds&& on_ids) {
  struct closer {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  std::unique_ptr<DIR, closer> const directory(::opendir("/proc"));
  if (!directory)
    throw std::system_error(errno, std::system_category(), "open /proc");
  int const proc = ::dirfd(directory.get());
  while (dirent const* const entry = ::readdir(directory.get())) {
    process_ids ids;
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && read_ids(proc, entry->d_name, ids) &&
        !ids.dead)
      on_ids(ids);
  }
}

}  // namespace

bool has_processes(uid_t uid) {
  bool found = false;
  for_each_process([&](process_ids const& ids) {
    found = found || std::find(std::begin(ids.uid), std::end(ids.uid), uid) != std::end(ids.uid);
  });
  return found;
}

std::unordered_set<uid_t> uids_of_processes() {
  std::unordered_set<uid_t> uids;
  for_each_process(
      [&](process_ids const& ids) { uids.insert(std::begin(ids.uid), std::end(ids.uid)); });
  return uids;
}

bool kill_processes_of(uid_t uid, std::chrono::milliseconds patience) {
  auto const until = std::chrono::steady_clock::now() + patience;
  std::chrono::milliseconds pause(1);
  for (;;) {
    send_kill_to_all(uid);
    if (!has_processes(uid))
      return true;
    if (std::chrono::steady_clock::now() >= until)
      return false;
    std::this_thread::sleep_for(pause);
    pause = (std::min)(pause * 2, std::chrono::milliseconds(50));
  }
}

}  // namespace hf::agent
