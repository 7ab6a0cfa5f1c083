#ifndef HF_SANDBOX_DETAIL_REQUEST_CLOCK_HPP
#define HF_SANDBOX_DETAIL_REQUEST_CLOCK_HPP

#include <hf/sandbox/http/request.hpp>

#include <algorithm>
#include <chrono>
#include <string>

namespace hf::detail {

/// The three time limits of one request: connecting, silence, deadline. A limit of zero or less is
/// no limit.
template <class = void>
class basic_request_clock {
 public:
  using clock = std::chrono::steady_clock;

  explicit basic_request_clock(http::request const& rq) : rq_(&rq), last_(clock::now()) {}

  /// The connection stands: from now on silence is measured.
  void connected() {
    connected_ = true;
    moved();
  }
  /// A byte moved, or the caller's own code ran (which is not the peer's silence).
  void moved() { last_ = clock::now(); }
  /// The connection stands since an unknown time; what moved last is kept.
  void assume_connected() noexcept { connected_ = true; }
  [[nodiscard]] bool is_connected() const noexcept { return connected_; }

  /// The point in time at which the first limit runs out.
  [[nodiscard]] clock::time_point ends() const {
    auto const limit = connected_ ? rq_->stall_timeout : rq_->connect_timeout;
    auto at = (clock::time_point::max)();
    if (limit.count() > 0 && limit < std::chrono::hours(24 * 365))
      at = last_ + limit;
    return rq_->deadline ? (std::min)(at, *rq_->deadline) : at;
  }
  [[nodiscard]] bool expired(clock::time_point now = clock::now()) const { return now >= ends(); }

  /// Time left, at most `most`, rounded up; zero when nothing is left.
  [[nodiscard]] std::chrono::milliseconds left(std::chrono::milliseconds most) const {
    auto const end = ends();
    auto const now = clock::now();
    if (end <= now)
      return std::chrono::milliseconds(0);
    if (end - now >= most)
      return most;
    return std::chrono::ceil<std::chrono::milliseconds>(end - now);
  }

  /// A sentence that says which limit ran out.
  [[nodiscard]] std::string describe(std::string const& origin) const {
    if (rq_->deadline && clock::now() >= *rq_->deadline)
      return "the request to " + origin + " was not over by its deadline";
    if (connected_)
      return "no byte moved to or from " + origin + " for " +
             std::to_string(rq_->stall_timeout.count()) + " ms";
    return "no connection to " + origin + " within " +
           std::to_string(rq_->connect_timeout.count()) + " ms";
  }

 private:
  http::request const* rq_;
  clock::time_point last_;
  bool connected_ = false;
};
using request_clock = basic_request_clock<>;

}  // namespace hf::detail

#endif
