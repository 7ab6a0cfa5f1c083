#include "exec/start_slots.hpp"

#include "exec/raw_syscall.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

namespace hf::agent {
namespace {

constexpr int first_slot = start_slots::end - start_slots::per_start * start_slots::starts_at_once;
// With fewer the agent needs the numbers itself.
constexpr rlim_t enough_descriptors = 256;

}  // namespace

start_slots& start_slots::common() {
  static start_slots slots;
  return slots;
}

void start_slots::reserve() {
#ifndef HF_AGENT_FORK_ONLY
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < enough_descriptors ||
      raw_syscall(close_range_number, ~0U, ~0U, close_range_unshare) != 0)
    return;
  placeholder_ = ::eventfd(0, EFD_CLOEXEC);
  if (placeholder_ < 0)
    return;
  for (;;) {
    int const fd = ::fcntl(placeholder_, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
      return;
    if (fd >= end) {
      ::close(fd);
      return;
    }
    own_[static_cast<std::size_t>(fd)] = true;
  }
#endif
}

start_slots::lease start_slots::take() {
  lease found;
  for (int i = 0; i < starts_at_once && !found; ++i) {
    int const first = first_slot + i * per_start;
    bool usable = !taken_[static_cast<std::size_t>(i)];
    for (int fd = first; fd < first + per_start; ++fd)
      usable = usable && own_[static_cast<std::size_t>(fd)];
    if (!usable)
      continue;
    taken_[static_cast<std::size_t>(i)] = true;
    found.first_ = first;
  }
  return found;
}

int start_slots::lease::place(int fd) {
  if (fd < 0)
    return fd;
  for (int i = 0; i < used_; ++i)
    if (placed_[static_cast<std::size_t>(i)] == fd)
      return first_ + i;
  placed_[static_cast<std::size_t>(used_)] = fd;
  return ::dup3(fd, first_ + used_++, O_CLOEXEC);
}

void start_slots::lease::give_back() {
  if (first_ < 0)
    return;
  auto& all = common();
  for (int i = 0; i < used_; ++i)
    ::dup3(all.placeholder_, first_ + i, O_CLOEXEC);
  all.taken_[static_cast<std::size_t>((first_ - first_slot) / per_start)] = false;
  first_ = -1;
  used_ = 0;
}

}  // namespace hf::agent
