#ifndef HF_SANDBOX_DETAIL_LINKED_STOP_HPP
#define HF_SANDBOX_DETAIL_LINKED_STOP_HPP

#include <hf/sandbox/detail/stop_token.hpp>

#include <atomic>
#include <version>

namespace hf::detail {

#if defined(__cpp_lib_jthread)

/// A stop of one's own that also follows the caller's: how one failed part of a call ends the
/// others.
template <class = void>
class basic_linked_stop {
 public:
  explicit basic_linked_stop(stop_token const& outer) : link_(outer, requester{&source_}) {}
  basic_linked_stop(basic_linked_stop const&) = delete;
  basic_linked_stop& operator=(basic_linked_stop const&) = delete;

  [[nodiscard]] stop_token token() const { return source_.get_token(); }
  [[nodiscard]] bool requested() const { return source_.stop_requested(); }
  void request() { source_.request_stop(); }

 private:
  struct requester {
    std::stop_source* source;
    void operator()() const { source->request_stop(); }
  };
  std::stop_source source_;
  std::stop_callback<requester> link_;
};
using linked_stop = basic_linked_stop<>;

#else

/// Without `std::stop_token`: ends what has not begun, cannot interrupt what runs.
class linked_stop {
 public:
  explicit linked_stop(stop_token const&) {}
  linked_stop(linked_stop const&) = delete;
  linked_stop& operator=(linked_stop const&) = delete;

  [[nodiscard]] stop_token token() const { return {}; }
  [[nodiscard]] bool requested() const { return requested_; }
  void request() { requested_ = true; }

 private:
  std::atomic<bool> requested_{false};
};

#endif

}  // namespace hf::detail

#endif
