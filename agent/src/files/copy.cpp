#include "files/copy.hpp"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hf::agent {
namespace {

int copy_by_hand(int from, int to, std::uint64_t done, std::uint64_t size) {
  std::vector<char> buffer(256 * 1024);
  while (done < size) {
    auto const want =
        static_cast<std::size_t>((std::min<std::uint64_t>)(buffer.size(), size - done));
    ssize_t const got = ::pread(from, buffer.data(), want, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? errno : EIO;
    for (ssize_t put = 0; put < got;) {
      ssize_t const n = ::pwrite(to, buffer.data() + put, static_cast<std::size_t>(got - put),
                                 static_cast<off_t>(done) + put);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return errno;
      put += n;
    }
    done += static_cast<std::uint64_t>(got);
  }
  return 0;
}

}  // namespace

int copy_content(int from, int to, std::uint64_t size) {
  if (size == 0)
    return 0;
  if (::fallocate(to, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return errno;
  std::uint64_t done = 0;
  while (done < size) {
    auto in = static_cast<off_t>(done);
    auto out = static_cast<off_t>(done);
    auto const want = static_cast<std::size_t>((std::min<std::uint64_t>)(1u << 30, size - done));
    ssize_t const n = ::copy_file_range(from, &in, to, &out, want, 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
      return errno;
    if (n <= 0)
      return copy_by_hand(from, to, done, size);
    done += static_cast<std::uint64_t>(n);
  }
  return 0;
}

void copy_attributes(int from, int to) {
  ssize_t const listed = ::flistxattr(from, nullptr, 0);
  if (listed <= 0)
    return;
  std::string names(static_cast<std::size_t>(listed), '\0');
  ssize_t const filled = ::flistxattr(from, names.data(), names.size());
  if (filled <= 0)
    return;
  std::string_view left(names.data(), static_cast<std::size_t>(filled));
  std::vector<char> value(64 * 1024);
  while (!left.empty()) {
    auto const end = left.find('\0');
    std::string const name(left.substr(0, end));
    left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
    if (name == "security.capability" || name == "security.ima" || name == "security.evm" ||
        name.starts_with("trusted."))
      continue;
    ssize_t const size = ::fgetxattr(from, name.c_str(), value.data(), value.size());
    if (size >= 0)
      static_cast<void>(
          ::fsetxattr(to, name.c_str(), value.data(), static_cast<std::size_t>(size), 0));
  }
}

}  // namespace hf::agent
