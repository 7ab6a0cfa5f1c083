#ifndef HF_SANDBOX_AGENT_DETAIL_RELEASED_ON_HPP
#define HF_SANDBOX_AGENT_DETAIL_RELEASED_ON_HPP

#include "detail/blocking_pool.hpp"

#include <exception>
#include <utility>

namespace hf::agent {

/// Holds a file, or what has some, and lets a thread of the pool release it: on FUSE and network
/// file systems closing a file waits for the file system.
template <class T>
class released_on {
 public:
  released_on(blocking_pool& pool, T value) : pool_(pool), value_(std::move(value)) {}
  released_on(released_on const&) = delete;
  released_on& operator=(released_on const&) = delete;
  ~released_on() {
    if (!value_)
      return;
    try {
      pool_.submit([value = std::move(value_)] {});
    } catch (std::exception const&) {
      // No memory: it is released here.
    }
  }

  [[nodiscard]] T& operator*() noexcept { return value_; }
  [[nodiscard]] T* operator->() noexcept { return &value_; }

 private:
  blocking_pool& pool_;
  T value_;
};

}  // namespace hf::agent

#endif
