#include "exec/spill_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

namespace hf::agent {
namespace {

unique_fd open_unnamed(std::string const& directory) {
#ifdef O_TMPFILE
  unique_fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
  if (fd)
    return fd;
#endif
  std::string pattern = directory + "/.sbx-output-XXXXXX";
  unique_fd named(::mkostemp(pattern.data(), O_CLOEXEC));
  if (named)
    ::unlink(pattern.c_str());
  return named;
}

}  // namespace

bool spill_file::open() {
  std::call_once(made_, [this] {
    char const* const chosen = std::getenv("TMPDIR");
    for (char const* directory : {chosen, "/var/tmp", "/tmp", "."}) {
      if (fd_ || directory == nullptr || *directory == '\0')
        continue;
      fd_ = open_unnamed(directory);
    }
    struct statvfs file_system {};
    if (fd_ && ::fstatvfs(fd_.get(), &file_system) == 0)
      tenth_of_free_space_ = std::uint64_t{file_system.f_bavail} * file_system.f_frsize / 10;
  });
  return static_cast<bool>(fd_);
}

bool spill_file::write(std::uint64_t position, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t const n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
    position += static_cast<std::uint64_t>(n);
  }
  return true;
}

bool spill_file::read(std::uint64_t position, char* to, std::size_t size) {
  while (size != 0) {
    ssize_t const n = ::pread(fd_.get(), to, size, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    to += n;
    size -= static_cast<std::size_t>(n);
    position += static_cast<std::uint64_t>(n);
  }
  return true;
}

void spill_file::discard(std::uint64_t position, std::uint64_t size) {
#ifdef FALLOC_FL_PUNCH_HOLE
  ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(position),
              static_cast<off_t>(size));
#endif
}

}  // namespace hf::agent
