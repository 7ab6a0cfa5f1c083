#ifndef HF_SANDBOX_DOCKER_BIND_SOURCE_HPP
#define HF_SANDBOX_DOCKER_BIND_SOURCE_HPP

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace hf::detail {

/// The first symbolic link on the way to a bind's source that code in an earlier container can have
/// planted; empty: none, or the path is not on this machine.
///
/// The engine follows links as root. One is trusted when it is root's and lies in a directory that
/// only root may write to (/var/run, /home on some systems): containers of root write as root, but
/// only where they were given a directory.
[[nodiscard]] inline std::string planted_link(std::string_view source) {
  bool parent_is_roots = true;
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = source.find('/', end + 1);
    std::string const path(source.substr(0, end));
    struct stat found {};
    if (path.empty() || ::lstat(path.c_str(), &found) != 0)
      return {};
    if (S_ISLNK(found.st_mode)) {
      if (found.st_uid != 0 || !parent_is_roots)
        return path;
      // What it leads to is looked at by the next component, through the link.
      if (::stat(path.c_str(), &found) != 0)
        return {};
    }
    parent_is_roots = found.st_uid == 0 && (found.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  }
  return {};
}

}  // namespace hf::detail

#endif
