#include "confine/remove_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace hf::agent::confine {

namespace {

std::vector<std::string> names_in(int directory) {
  std::vector<std::string> names;
  int const fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const stream = fd < 0 ? nullptr : ::fdopendir(fd);
  if (stream == nullptr) {
    if (fd >= 0)
      ::close(fd);
    return names;
  }
  while (dirent const* const entry = ::readdir(stream))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      names.emplace_back(entry->d_name);
  ::closedir(stream);
  return names;
}

/// Removes what is not a directory; returns whether the name is a directory.
bool is_directory_after_unlink(int parent, std::string const& name) {
  struct stat found {};
  if (::fstatat(parent, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0)
    return false;
  if (S_ISDIR(found.st_mode))
    return true;
  ::unlinkat(parent, name.c_str(), 0);
  return false;
}

int open_writable(int parent, std::string const& name) {
  // The link check above and nobody writing here make the path safe for chmod.
  ::fchmodat(parent, name.c_str(), 0700, 0);
  return ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/// The directory above may be one that others write to: no call here follows a link.
int open_top(std::string const& path) {
  int const flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int top = ::open(path.c_str(), O_RDONLY | flags);
  if (top >= 0) {
    ::fchmod(top, 0700);
    return top;
  }
  int const named = errno == EACCES ? ::open(path.c_str(), O_PATH | flags) : -1;
  if (named < 0)
    return -1;
  std::string const self = "/proc/self/fd/" + std::to_string(named);
  if (::chmod(self.c_str(), 0700) == 0)
    top = ::open(self.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ::close(named);
  return top;
}

/// Moves a directory up to `top` under a name that is free there.
bool move_up(int directory, std::string const& name, int top, unsigned long& moved) {
  for (;;) {
    std::string const here = ".hf-sandbox-remove-" + std::to_string(++moved);
    if (::renameat(directory, name.c_str(), top, here.c_str()) == 0)
      return true;
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
      return false;
  }
}

}  // namespace

bool remove_tree(std::string const& path) {
  int const top = open_top(path);
  if (top < 0)
    return errno == ENOENT;
  // Directories in directories move up to the top, so that no depth exhausts anything.
  unsigned long moved = 0;
  for (bool progress = true; progress;) {
    progress = false;
    for (auto const& name : names_in(top)) {
      if (!is_directory_after_unlink(top, name))
        continue;
      int const directory = open_writable(top, name);
      if (directory >= 0) {
        for (auto const& inner : names_in(directory)) {
          if (!is_directory_after_unlink(directory, inner))
            continue;
          ::fchmodat(directory, inner.c_str(), 0700, 0);
          if (::unlinkat(directory, inner.c_str(), AT_REMOVEDIR) == 0)
            continue;
          progress = move_up(directory, inner, top, moved) || progress;
        }
        ::close(directory);
      }
      if (::unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0)
        progress = true;
    }
  }
  ::close(top);
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT;
}

}  // namespace hf::agent::confine
