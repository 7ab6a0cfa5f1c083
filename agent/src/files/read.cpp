#include "files/read.hpp"

#include "files/failure.hpp"
#include "files/filesystem.hpp"
#include "files/resolve.hpp"
#include "http/exchange.hpp"

#include <hf/sandbox/detail/utf8.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hf::agent {
namespace {

void require_regular(struct stat const& st, std::string_view shown) {
  if (S_ISDIR(st.st_mode))
    throw_file_error(EISDIR, "open", shown);
  if (!S_ISREG(st.st_mode))
    throw_not_regular("open", shown, st.st_mode);
}

}  // namespace

readable_file open_for_reading(file_root const& root, std::string_view path) {
  auto at = locate(root, path, "open");
  readable_file file;
  struct stat st {};
  // Looking before opening, because opening some devices has effects.
  if (::fstatat(at.directory.get(), at.name.c_str(), &st,
                root.confined() ? AT_SYMLINK_NOFOLLOW : 0) != 0)
    throw_file_error(errno, "open", at.shown);
  if (S_ISLNK(st.st_mode))
    throw http_error{400, "invalid_argument",
                     "cannot open " + hf::detail::utf8_lossy(at.shown) +
                         ": a path component is a symlink, which this API does not follow"};
  require_regular(st, at.shown);
  if (at.wants_directory)
    throw_file_error(ENOTDIR, "open", at.shown);
  int const flags =
      O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (root.confined() ? O_NOFOLLOW : 0);
  file.fd = unique_fd(::openat(at.directory.get(), at.name.c_str(), flags));
  if (!file.fd || ::fstat(file.fd.get(), &st) != 0)
    throw_file_error(errno, "open", at.shown);
  require_regular(st, at.shown);
  file.size = static_cast<std::uint64_t>(st.st_size);
  file.size_known = file.size > 0 && !is_kernel_filesystem(file.fd.get());
  file.shown = std::move(at.shown);
  return file;
}

std::string read_piece(readable_file const& file, std::uint64_t offset, std::size_t length) {
  std::string piece(length, '\0');
  ssize_t got = -1;
  do {
    got = ::pread(file.fd.get(), piece.data(), length, static_cast<off_t>(offset));
    if (got < 0 && errno == ESPIPE)
      got = ::read(file.fd.get(), piece.data(), length);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno != EAGAIN)
    throw_file_error(errno, "read", file.shown);
  piece.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return piece;
}

}  // namespace hf::agent
