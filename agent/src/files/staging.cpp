#include "files/staging.hpp"

#include "files/copy.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace hf::agent {
namespace {

/// Cleared when a nameless file could not be given a name here (no /proc, a security module).
std::atomic<bool> nameless_works{true};

std::string hidden_name() {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != static_cast<ssize_t>(sizeof random))
    random = 0;
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), ".hf-upload-%016llx",
                static_cast<unsigned long long>(random));
  return name.data();
}

int link_nameless(int fd, int directory, char const* name) {
  std::array<char, 40> self{};
  std::snprintf(self.data(), self.size(), "/proc/self/fd/%d", fd);
  return ::linkat(AT_FDCWD, self.data(), directory, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

}  // namespace

staging_file::staging_file(staging_file&& other) noexcept
    : directory_(std::exchange(other.directory_, -1)),
      fd_(std::move(other.fd_)),
      hidden_(std::exchange(other.hidden_, {})) {}

staging_file& staging_file::operator=(staging_file&& other) noexcept {
  if (this != &other) {
    drop();
    directory_ = std::exchange(other.directory_, -1);
    fd_ = std::move(other.fd_);
    hidden_ = std::exchange(other.hidden_, {});
  }
  return *this;
}

staging_file::~staging_file() {
  drop();
}

void staging_file::drop() noexcept {
  if (!hidden_.empty())
    ::unlinkat(directory_, hidden_.c_str(), 0);
  hidden_.clear();
  fd_.reset();
}

int staging_file::create(int directory) {
  directory_ = directory;
  if (nameless_works.load(std::memory_order_relaxed)) {
    fd_ = unique_fd(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd_)
      return 0;
    // Not every file system has O_TMPFILE, and they say so in many ways; what a hidden file's
    // creation says counts.
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOSPC || errno == EDQUOT)
      return errno;
  }
  return create_hidden();
}

int staging_file::create_hidden() {
  for (int tries = 0; tries < 16; ++tries) {
    auto name = hidden_name();
    unique_fd fd(::openat(directory_, name.c_str(),
                          O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd) {
      fd_ = std::move(fd);
      hidden_ = std::move(name);
      return 0;
    }
    if (errno != EEXIST)
      return errno;
  }
  return EEXIST;
}

/// Gives a nameless file a hidden name, by copying it if it has to be.
int staging_file::make_hidden() {
  int failed = EEXIST;
  for (int tries = 0; tries < 16 && failed == EEXIST; ++tries) {
    auto name = hidden_name();
    failed = link_nameless(fd_.get(), directory_, name.c_str());
    if (failed == 0)
      hidden_ = std::move(name);
  }
  if (failed == 0 || failed == ENOSPC || failed == EDQUOT)
    return failed;
  nameless_works.store(false, std::memory_order_relaxed);
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0)
    return errno;
  unique_fd const nameless = std::move(fd_);
  if (int const created = create_hidden(); created != 0)
    return created;
  if (int const copied =
          copy_content(nameless.get(), fd_.get(), static_cast<std::uint64_t>(st.st_size));
      copied != 0)
    return copied;
  if (::fchown(fd_.get(), st.st_uid, st.st_gid) != 0 && errno != EPERM)
    return errno;
  return ::fchmod(fd_.get(), st.st_mode & 07777) == 0 ? 0 : errno;
}

int staging_file::link_as(std::string const& name) {
  if (hidden_.empty()) {
    // The usual case of a name that is free costs one call.
    int const linked = nameless_works.load(std::memory_order_relaxed)
                           ? link_nameless(fd_.get(), directory_, name.c_str())
                           : EEXIST;
    if (linked == 0) {
      fd_.reset();
      return 0;
    }
    if (int const failed = make_hidden(); failed != 0)
      return failed;
  }
  if (::renameat(directory_, hidden_.c_str(), directory_, name.c_str()) != 0)
    return errno;
  hidden_.clear();
  fd_.reset();
  return 0;
}

}  // namespace hf::agent
