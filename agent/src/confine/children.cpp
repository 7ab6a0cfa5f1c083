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

// A child's pid cannot be used again before this process has waited for it.
void kill_child(char const* pid) {
  ::kill(static_cast<pid_t>(std::strtol(pid, nullptr, 10)), SIGKILL);
}

/// The quick way, which leaves processes that fork and end all the time no time to get away. False
/// where the kernel lacks it.
bool kill_listed_children() {
  std::string const pid = std::to_string(::getpid());
  std::string const path = "/proc/" + pid + "/task/" + pid + "/children";
  if (::access(path.c_str(), R_OK) != 0)
    return false;
  std::string const children = read_file(path.c_str());
  for (std::size_t at = 0; at < children.size(); at = children.find(' ', at) + 1) {
    kill_child(children.c_str() + at);
    if (children.find(' ', at) == std::string::npos)
      break;
  }
  return true;
}

pid_t parent_of(std::string const& pid) {
  std::string const stat = read_file(("/proc/" + pid + "/stat").c_str());
  auto const name_end = stat.rfind(')');  // the name may hold anything
  int parent = 0;
  if (name_end == std::string::npos ||
      std::sscanf(stat.c_str() + name_end + 1, " %*c %d", &parent) != 1)
    return 0;
  return parent;
}

void kill_found_children() {
  pid_t const self = ::getpid();
  DIR* const processes = ::opendir("/proc");
  if (processes == nullptr)
    return;
  while (dirent const* const entry = ::readdir(processes))
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && parent_of(entry->d_name) == self)
      kill_child(entry->d_name);
  ::closedir(processes);
}

}  // namespace

void kill_all_descendants() {
  for (;;) {
    if (!kill_listed_children())
      kill_found_children();
    pid_t const gone = ::waitpid(-1, nullptr, 0);
    if (gone < 0 && errno != EINTR)
      return;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace hf::agent::confine
