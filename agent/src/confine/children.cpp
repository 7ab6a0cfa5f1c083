#include "confine/children.hpp"

#include "confine/system.hpp"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace hf::agent::confine {

namespace {

pid_t parent_of(std::string const& pid) {
  std::string const stat = read_file(("/proc/" + pid + "/stat").c_str());
  auto const name_end = stat.rfind(')');  // the name may hold anything
  int parent = 0;
  if (name_end == std::string::npos ||
      std::sscanf(stat.c_str() + name_end + 1, " %*c %d", &parent) != 1)
    return 0;
  return parent;
}

void kill_children() {
  pid_t const self = ::getpid();
  DIR* const processes = ::opendir("/proc");
  if (processes == nullptr)
    return;
  while (dirent const* const entry = ::readdir(processes)) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
      continue;
    // A child's pid cannot be used again before this process has waited for it.
    if (parent_of(entry->d_name) == self)
      ::kill(static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10)), SIGKILL);
  }
  ::closedir(processes);
}

}  // namespace

void kill_all_descendants() {
  for (;;) {
    kill_children();
    pid_t const gone = ::waitpid(-1, nullptr, 0);
    if (gone < 0 && errno != EINTR)
      return;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace hf::agent::confine
