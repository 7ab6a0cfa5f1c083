#ifndef HF_SANDBOX_DETAIL_RETRY_PAUSES_HPP
#define HF_SANDBOX_DETAIL_RETRY_PAUSES_HPP

#include <hf/sandbox/detail/backoff.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace hf::detail {

/// The pauses between the attempts of one call: growing ones, or longer ones where the server asked
/// for them. They end before the call's deadline.
template <class = void>
class basic_retry_pauses {
 public:
  using clock = std::chrono::steady_clock;

  /// Longest pause that a server's `Retry-After` gets, in seconds.
  static constexpr double longest_asked = 60;

  basic_retry_pauses(std::chrono::milliseconds first, std::chrono::milliseconds longest,
                     std::optional<clock::time_point> deadline, stop_token stop)
      : first_(first),
        longest_(longest),
        pauses_(first, longest),
        deadline_(deadline),
        stop_(std::move(stop)) {}

  /// Pauses after this failure. False, at once, when the deadline leaves no time for that;
  /// `errc::cancelled` when stopped.
  [[nodiscard]] bool wait(error const& failure) {
    auto pause = pauses_.next();
    if (double const asked = failure.details().retry_after_s; asked > 0)
      pause = (std::max)(pause, std::chrono::milliseconds(static_cast<std::int64_t>(
                                    (std::min)(asked, longest_asked) * 1000)));
    auto const until = clock::now() + pause;
    if (deadline_ && until >= *deadline_)
      return false;
    if (!sleep_until(until, stop_))
      throw error(errc::cancelled, "cancelled between two attempts");
    return true;
  }

  /// Begins with the shortest pause again.
  void restart() { pauses_ = backoff(first_, longest_); }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds longest_;
  backoff pauses_;
  std::optional<clock::time_point> deadline_;
  stop_token stop_;
};
using retry_pauses = basic_retry_pauses<>;

}  // namespace hf::detail

#endif
