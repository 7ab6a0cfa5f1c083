#ifndef HF_SANDBOX_TESTS_SUPPORT_IN_CHILD_HPP
#define HF_SANDBOX_TESTS_SUPPORT_IN_CHILD_HPP

#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hf::testing_support {

inline void write_to_parent(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t const n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Runs `work` in a forked child, as user and group `uid` unless that is 0; returns the text that
/// it returned. What it throws is rethrown as `std::runtime_error`. The process must have one
/// thread.
template <class Work>
std::string in_child(uid_t uid, Work&& work) {
  int ends[2];
  if (::pipe(ends) != 0)
    throw std::runtime_error("pipe failed");
  pid_t const child = ::fork();
  if (child < 0)
    throw std::runtime_error("fork failed");
  if (child == 0) {
    ::close(ends[0]);
    std::string text;
    try {
      if (uid != 0 && (::setgroups(0, nullptr) != 0 || ::setresgid(uid, uid, uid) != 0 ||
                       ::setresuid(uid, uid, uid) != 0))
        throw std::runtime_error("cannot become the user");
      text = "+" + work();
    } catch (std::exception const& e) {
      text = "-" + std::string(e.what());
    } catch (...) {
      text = "-an unknown exception";
    }
    write_to_parent(ends[1], text);
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (;;) {
    ssize_t const n = ::read(ends[0], buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (text.empty())
    throw std::runtime_error("the child ended without an answer");
  if (text.front() == '-')
    throw std::runtime_error(text.substr(1));
  return text.substr(1);
}

}  // namespace hf::testing_support

#endif
