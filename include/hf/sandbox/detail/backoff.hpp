#ifndef HF_SANDBOX_DETAIL_BACKOFF_HPP
#define HF_SANDBOX_DETAIL_BACKOFF_HPP

#include <hf/sandbox/detail/crypto.hpp>

#include <algorithm>
#include <chrono>

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
    auto const two_bytes = random_bytes(2);
    auto const of_65536 =
        static_cast<unsigned char>(two_bytes[0]) * 256 + static_cast<unsigned char>(two_bytes[1]);
    auto const half = step / 2;
    return half + (step - half) * of_65536 / 65535;
  }

 private:
  milliseconds next_;
  milliseconds longest_;
};
using backoff = basic_backoff<>;

}  // namespace hf::detail

#endif
