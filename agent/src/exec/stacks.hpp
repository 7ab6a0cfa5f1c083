#ifndef HF_SANDBOX_AGENT_EXEC_STACKS_HPP
#define HF_SANDBOX_AGENT_EXEC_STACKS_HPP

#include <sys/types.h>

#include <cstddef>
#include <utility>

namespace hf::agent {

/// Memory for the stack of a process that shares ours, with a guard page below.
class process_stack {
 public:
  process_stack() = default;
  explicit process_stack(std::size_t size);
  process_stack(process_stack&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), size_(other.size_) {}
  process_stack& operator=(process_stack&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~process_stack();

  [[nodiscard]] explicit operator bool() const noexcept { return base_ != nullptr; }
  [[nodiscard]] void* top() const noexcept { return static_cast<char*>(base_) + size_; }

 private:
  void* base_ = nullptr;
  std::size_t size_ = 0;
};

/// A stack for a new process; false when there is no memory.
[[nodiscard]] process_stack take_stack();
/// The process has executed its program, or has ended.
void give_back_stack(process_stack stack);
/// Keeps the stack of a process that never executes another program until `recycle_stack`
/// (spawn.hpp) is called for it.
void lend_stack(pid_t process, process_stack stack);

}  // namespace hf::agent

#endif
