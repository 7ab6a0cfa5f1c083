#ifndef HF_SANDBOX_DETAIL_REMOVE_TREE_HPP
#define HF_SANDBOX_DETAIL_REMOVE_TREE_HPP

#include <hf/sandbox/detail/unique_fd.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>

namespace hf::detail {

/// Opens a directory for reading and gives its owner all rights to it; follows no link. The mode
/// is changed through the descriptor, so that no exchange of the name can redirect it.
inline unique_fd open_with_all_rights(int parent, char const* name) {
  int const flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  unique_fd directory(::openat(parent, name, O_RDONLY | flags));
  if (directory) {
    struct stat found {};
    if (::fstat(directory.get(), &found) == 0 && (found.st_mode & 0700) != 0700)
      ::fchmod(directory.get(), 0700);
    return directory;
  }
  if (errno != EACCES)
    return directory;
  unique_fd const named(::openat(parent, name, O_PATH | flags));
  if (!named)
    return {};
  std::string const self = "/proc/self/fd/" + std::to_string(named.get());
  if (::chmod(self.c_str(), 0700) == 0)
    directory.reset(::open(self.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory;
}

/// Removes a directory and all below it, whatever hostile code left there.
///
/// Every directory below the top is moved up to the top under the next number, and visited there
/// once, in the order of the numbers. So the work is linear in the number of entries, and three
/// descriptors and a few names are all that is held, whatever the depth. An interrupted removal
/// can be repeated: what is left is a tree again.
class tree_remover {
 public:
  using clock = std::chrono::steady_clock;

  explicit tree_remover(clock::time_point deadline) : deadline_(deadline) {}

  /// Whether nothing is left.
  bool remove(std::string const& path) {
    unique_fd const top = open_with_all_rights(AT_FDCWD, path.c_str());
    if (!top)
      return errno == ENOENT;
    top_ = top.get();
    while (!late_) {
      progress_ = false;
      visit(top_);
      for (unsigned long long done = visited_; done < moved_ && !late_; visited_ = ++done)
        remove_directory(top_, name_of(done + 1).c_str());
      if (::rmdir(path.c_str()) == 0 || errno == ENOENT)
        return true;
      // Entries may have been skipped while others were removed; without progress another pass
      // would fail as this one did.
      if (!progress_)
        return false;
    }
    return false;
  }

 private:
  static std::string name_of(unsigned long long number) {
    return ".hf-sandbox-remove-" + std::to_string(number);
  }

  /// Removes or moves up all that a directory holds.
  void visit(int directory) {
    int const fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* const stream = fd < 0 ? nullptr : ::fdopendir(fd);
    if (stream == nullptr) {
      if (fd >= 0)
        ::close(fd);
      return;
    }
    while (dirent const* const entry = late() ? nullptr : ::readdir(stream)) {
      char const* const name = entry->d_name;
      if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0)
        continue;
      if (entry->d_type != DT_DIR && ::unlinkat(directory, name, 0) == 0) {
        progress_ = true;
        continue;
      }
      if (::unlinkat(directory, name, AT_REMOVEDIR) == 0)
        progress_ = true;
      else if (errno == ENOTEMPTY || errno == EEXIST)
        directory == top_ ? remove_directory(top_, name) : move_up(directory, name);
    }
    ::closedir(stream);
  }

  void remove_directory(int parent, char const* name) {
    unique_fd const directory = open_with_all_rights(parent, name);
    if (!directory)
      return;
    // Again: entries can be skipped while others are removed. What cannot be emptied stays.
    bool const before = progress_;
    do {
      progress_ = false;
      visit(directory.get());
      if (::unlinkat(parent, name, AT_REMOVEDIR) == 0) {
        progress_ = true;
        return;
      }
    } while (progress_ && !late_);
    progress_ = before;
  }

  void move_up(int directory, char const* name) {
    // To move a directory is to write its "..".
    if (!open_with_all_rights(directory, name))
      return;
    do {
      if (::renameat(directory, name, top_, name_of(++moved_).c_str()) == 0) {
        progress_ = true;
        return;
      }
    } while (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR);
    --moved_;
  }

  bool late() {
    if (!late_ && ++steps_ % 64 == 0)
      late_ = clock::now() >= deadline_;
    return late_;
  }

  clock::time_point deadline_;
  int top_ = -1;
  unsigned long long moved_ = 0;
  unsigned long long visited_ = 0;
  unsigned long steps_ = 0;
  bool progress_ = false;
  bool late_ = false;
};

/// Removes a directory and all below it; follows no link. False when something is left: at the
/// deadline, or because it belongs to somebody else. Nothing may write there any more.
inline bool remove_tree(std::string const& path,
                        std::chrono::steady_clock::time_point deadline =
                            (std::chrono::steady_clock::time_point::max)()) {
  return tree_remover(deadline).remove(path);
}

}  // namespace hf::detail

#endif
