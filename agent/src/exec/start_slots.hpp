#ifndef HF_SANDBOX_AGENT_EXEC_START_SLOTS_HPP
#define HF_SANDBOX_AGENT_EXEC_START_SLOTS_HPP

#include <array>
#include <cstddef>
#include <utility>

namespace hf::agent {

/// Low numbers for the descriptors that a new process needs.
///
/// A process that is cloned with the agent's descriptor table shared leaves it with a copy of the
/// numbers below `end` only. A copy of everything would have to be closed again, and to close a
/// file takes as long as its file system likes: while one file operation hangs, no command could
/// start. So the numbers below `end` are all taken when the agent starts, some of them for these
/// slots.
class start_slots {
 public:
  /// No file that is opened later has a number below this one.
  static constexpr int end = 64;
  /// Standard streams, script, Landlock ruleset, and two pipes to the agent.
  static constexpr int per_start = 7;
  static constexpr int starts_at_once = 4;

  /// The slots of one start, until the new process has its own table.
  class lease {
   public:
    lease() = default;
    lease(lease&& other) noexcept
        : first_(std::exchange(other.first_, -1)),
          used_(std::exchange(other.used_, 0)),
          placed_(other.placed_) {}
    lease& operator=(lease&& other) noexcept {
      std::swap(first_, other.first_);
      std::swap(used_, other.used_);
      std::swap(placed_, other.placed_);
      return *this;
    }
    ~lease() { give_back(); }

    [[nodiscard]] explicit operator bool() const noexcept { return first_ >= 0; }
    /// The slot that holds the descriptor from here on; negative ones stay what they are.
    int place(int fd);
    void give_back();

   private:
    friend class start_slots;
    int first_ = -1;
    int used_ = 0;
    std::array<int, per_start> placed_{};
  };

  /// The agent's: there is one descriptor table.
  static start_slots& common();

  /// Takes the numbers. To be called before anything else is opened. Without it, or on a kernel
  /// without close_range, or with few descriptors, no slots are to be had.
  void reserve();
  /// Slots for one start; false when there are none.
  [[nodiscard]] lease take();

 private:
  int placeholder_ = -1;
  std::array<bool, end> own_{};
  std::array<bool, starts_at_once> taken_{};
};

}  // namespace hf::agent

#endif
