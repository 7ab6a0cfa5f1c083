#ifndef HF_SANDBOX_AGENT_EXEC_STACKS_HPP
#define HF_SANDBOX_AGENT_EXEC_STACKS_HPP

#include <sys/types.h>

#include <cstddef>
#include <utility>

namespace hf::agent {

/// Memory for the stack of a process that shares ours, with a guard page below.
class helper_stack {
 public:
  helper_stack() = default;
  explicit helper_stack(std::size_t size);
  helper_stack(helper_stack&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), size_(other.size_) {}
  helper_stack& operator=(helper_stack&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~helper_stack();

  [[nodiscard]] explicit operator bool() const noexcept { return base_ != nullptr; }
  [[nodiscard]] void* top() const noexcept { return static_cast<char*>(base_) + size_; }

 private:
  void* base_ = nullptr;
  std::size_t size_ = 0;
};

/// The stack on which a child runs until its execve; one at a time does.
[[nodiscard]] helper_stack& child_stack();

/// A stack for a helper; false when there is no memory.
[[nodiscard]] helper_stack take_helper_stack();
/// Keeps the stack until `recycle_helper` (spawn.hpp) is called for that process.
void lend_helper_stack(pid_t helper, helper_stack stack);

}  // namespace hf::agent

#endif
