#ifndef HF_SANDBOX_DETAIL_UNIQUE_FD_HPP
#define HF_SANDBOX_DETAIL_UNIQUE_FD_HPP

#include <unistd.h>

#include <utility>

namespace hf::detail {

/// Owns a file descriptor.
template <class = void>
class basic_unique_fd {
 public:
  basic_unique_fd() = default;
  explicit basic_unique_fd(int fd) noexcept : fd_(fd) {}
  basic_unique_fd(basic_unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  basic_unique_fd& operator=(basic_unique_fd&& other) noexcept {
    if (this != &other)
      reset(std::exchange(other.fd_, -1));
    return *this;
  }
  basic_unique_fd(basic_unique_fd const&) = delete;
  basic_unique_fd& operator=(basic_unique_fd const&) = delete;
  ~basic_unique_fd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0)
      ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};
using unique_fd = basic_unique_fd<>;

}  // namespace hf::detail

#endif
