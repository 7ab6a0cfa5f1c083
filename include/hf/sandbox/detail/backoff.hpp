#ifndef HF_SANDBOX_DETAIL_BACKOFF_HPP
#define HF_SANDBOX_DETAIL_BACKOFF_HPP

#include <algorithm>
#include <chrono>
#include <random>

namespace hf::detail {

/// Growing pauses between attempts, with jitter so that many clients don't come back at once.
template <class = void>
class basic_backoff {
 public:
  using milliseconds = std::chrono::milliseconds;

  basic_backoff(milliseconds first, milliseconds longest) : next_(first), longest_(longest) {}

  /// The next pause: between half of the current step and the whole, then the step doubles.
  template <class = void>
  [[nodiscard]] milliseconds next() {
    auto const step = next_;
    next_ = (std::min)(longest_, next_ * 2);
    static thread_local std::minstd_rand random(std::random_device{}());
    std::uniform_int_distribution<milliseconds::rep> spread(step.count() / 2, step.count());
    return milliseconds(spread(random));
  }

 private:
  milliseconds next_;
  milliseconds longest_;
};
using backoff = basic_backoff<>;

}  // namespace hf::detail

#endif
