#include "files/remove.hpp"

#include "files/directory_reader.hpp"
#include "files/failure.hpp"
#include "files/resolve.hpp"
#include "http/exchange.hpp"

#include <hf/sandbox/detail/remove_tree.hpp>
#include <hf/sandbox/detail/utf8.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <vector>

namespace hf::agent {
namespace {

/// Deeper levels are first moved up, so that descriptors and memory stay bounded.
constexpr std::size_t max_open_levels = 32;
/// Passes over a directory that others keep filling.
constexpr int max_passes = 100;

struct level {
  level(hf::detail::unique_fd directory, std::string entry)
      : fd(std::move(directory)), reader(fd.get()), name(std::move(entry)) {}

  hf::detail::unique_fd fd;
  directory_reader reader;
  /// In the level above.
  std::string name;
  bool removed_something = false;
  int passes = 0;
};

class tree_removal {
 public:
  /// errno; 0: the directory and all it held are gone.
  int run(int parent, std::string const& name) {
    if (int const failed = enter(parent, name); failed != 0)
      return failed;
    while (!levels_.empty()) {
      int const failed = step(parent);
      if (failed != 0)
        return failed;
    }
    return 0;
  }

 private:
  int enter(int parent, std::string const& name) {
    // What its owner could make accessible with chmod is deleted without asking for that.
    auto opened = hf::detail::open_with_all_rights(parent, name.c_str());
    if (!opened)
      return errno;
    levels_.push_back(std::make_unique<level>(std::move(opened), name));
    return 0;
  }

  /// Removes one entry of the innermost directory, or that directory when it is empty.
  int step(int parent) {
    auto& here = *levels_.back();
    directory_reader::entry found{};
    if (here.reader.next(found)) {
      here.removed_something = true;
      return remove_entry(std::string(found.name), found.type);
    }
    if (here.reader.error() != 0)
      return here.reader.error();
    if (here.removed_something) {
      // Entries can be skipped while others are removed: look again.
      if (++here.passes == max_passes)
        return ENOTEMPTY;
      here.removed_something = false;
      here.reader.rewind();
      return 0;
    }
    int const above = levels_.size() > 1 ? levels_[levels_.size() - 2]->fd.get() : parent;
    if (::unlinkat(above, here.name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      if (errno != ENOTEMPTY || ++here.passes == max_passes)
        return errno;
      here.reader.rewind();
      return 0;
    }
    levels_.pop_back();
    return 0;
  }

  int remove_entry(std::string const& name, unsigned char type) {
    auto& here = *levels_.back();
    if (type != DT_DIR) {
      if (::unlinkat(here.fd.get(), name.c_str(), 0) == 0 || errno == ENOENT)
        return 0;
      if (errno != EISDIR && errno != EPERM)
        return errno;
      // Linux says EISDIR, POSIX allows EPERM: only a look tells.
      int const failed = errno;
      struct stat st {};
      if (::fstatat(here.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
      if (!S_ISDIR(st.st_mode))
        return failed;
    }
    if (::unlinkat(here.fd.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT)
      return 0;
    // It was exchanged for something else meanwhile: the next pass sees it as it is then.
    if (errno == ENOTDIR)
      return ::unlinkat(here.fd.get(), name.c_str(), 0) == 0 ? 0 : errno;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY)
      return errno;
    if (levels_.size() == max_open_levels)
      return hoist(name);
    int const failed = enter(here.fd.get(), name);
    return failed == ENOENT || failed == ENOTDIR || failed == ELOOP ? 0 : failed;
  }

  /// Moves a directory from the innermost level as far up as the file system allows.
  int hoist(std::string const& name) {
    // To move a directory is to write its "..".
    (void)hf::detail::open_with_all_rights(levels_.back()->fd.get(), name.c_str());
    int failed = ELOOP;
    for (std::size_t to = 0; to + 1 < levels_.size(); ++to) {
      char moved[40];
      std::snprintf(moved, sizeof moved, ".hf-removed-%d-%llu", static_cast<int>(::getpid()),
                    static_cast<unsigned long long>(++hoisted_));
      if (::renameat(levels_.back()->fd.get(), name.c_str(), levels_[to]->fd.get(), moved) == 0) {
        levels_[to]->removed_something = true;
        // Moving is progress: it must not use up the passes of the directory moved to.
        levels_[to]->passes = 0;
        return 0;
      }
      failed = errno;
      if (failed == ENOENT)
        return 0;
      if (failed != EXDEV && failed != ENOTEMPTY && failed != EEXIST)
        return failed;
    }
    return failed;
  }

  std::vector<std::unique_ptr<level>> levels_;
  unsigned long long hoisted_ = 0;
};

}  // namespace

std::string remove_file(file_root const& root, std::string_view path, bool recursive) {
  auto const at = locate(root, path, "delete");
  if (!at.is_entry())
    throw http_error{
        400, "invalid_argument",
        "cannot delete " + hf::detail::utf8_lossy(at.shown) + ": it is a root, or '.' or '..'"};
  struct stat st {};
  if (::fstatat(at.directory.get(), at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    throw_file_error(errno, "delete", at.shown);
  if (!S_ISDIR(st.st_mode)) {
    if (at.wants_directory && !S_ISLNK(st.st_mode))
      throw_file_error(ENOTDIR, "delete", at.shown);
    if (::unlinkat(at.directory.get(), at.name.c_str(), 0) != 0)
      throw_file_error(errno, "delete", at.shown);
    return at.shown;
  }
  if (!recursive) {
    if (::unlinkat(at.directory.get(), at.name.c_str(), AT_REMOVEDIR) != 0)
      throw_file_error(errno, "delete", at.shown);
    return at.shown;
  }
  tree_removal removal;
  if (int const failed = removal.run(at.directory.get(), at.name); failed != 0)
    throw_file_error(failed, "delete", at.shown);
  return at.shown;
}

}  // namespace hf::agent
