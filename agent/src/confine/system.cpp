#include "confine/system.hpp"

#include "confine/report.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>

namespace hf::agent::confine {

std::string read_file(char const* path) {
  std::string content;
  int const fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return content;
  char buffer[4096];
  for (;;) {
    ssize_t const n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    content.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return content;
}

int write_file(char const* path, std::string_view content, unsigned mode) {
  int const fd = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0)
    return errno;
  // One write: the id maps of a user namespace take no more.
  ssize_t const n = ::write(fd, content.data(), content.size());
  int const error = n < 0 ? errno : static_cast<std::size_t>(n) == content.size() ? 0 : EIO;
  ::close(fd);
  return error;
}

int make_directories(std::string const& path, unsigned mode) {
  for (std::size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/')
      continue;
    std::string const part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST)
      return errno;
  }
  return 0;
}

void close_all_but(int const* keep, int count) {
  auto const close_range = [](unsigned first, unsigned last) {
    if (first > last || ::syscall(sys_close_range, first, last, 0) == 0)
      return;
    rlimit limit{};
    unsigned const end = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536
                             ? static_cast<unsigned>(limit.rlim_cur)
                             : 65536U;
    for (unsigned fd = first; fd <= last && fd < end; ++fd)
      ::close(static_cast<int>(fd));
  };
  unsigned first = 3;
  for (int i = 0; i < count; ++i) {
    auto const fd = static_cast<unsigned>(keep[i]);
    if (fd > first)
      close_range(first, fd - 1);
    if (fd >= first)
      first = fd + 1;
  }
  close_range(first, UINT_MAX);
}

}  // namespace hf::agent::confine
