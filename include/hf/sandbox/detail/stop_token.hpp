#ifndef HF_SANDBOX_DETAIL_STOP_TOKEN_HPP
#define HF_SANDBOX_DETAIL_STOP_TOKEN_HPP

#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

namespace hf {

#if defined(__cpp_lib_jthread)

/// How a caller cancels a blocking call from another thread: `std::stop_token`.
using stop_token = std::stop_token;
/// What makes stop tokens.
using stop_source = std::stop_source;
template <class Callback>
using stop_callback = std::stop_callback<Callback>;

#else

/// Stand-in where the standard library has no `std::stop_token` (libc++ before 20): nothing can be
/// cancelled from another thread there.
class stop_token {
 public:
  [[nodiscard]] bool stop_requested() const noexcept { return false; }
  [[nodiscard]] bool stop_possible() const noexcept { return false; }
};

/// Stand-in: its requests reach nobody.
class stop_source {
 public:
  [[nodiscard]] stop_token get_token() const noexcept { return {}; }
  bool request_stop() noexcept { return false; }
  [[nodiscard]] bool stop_requested() const noexcept { return false; }
};

template <class Callback>
class stop_callback {
 public:
  template <class F>
  stop_callback(stop_token const&, F&&) noexcept {}
};

#endif

}  // namespace hf

#endif
