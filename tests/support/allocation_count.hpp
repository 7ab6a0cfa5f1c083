#ifndef HF_SANDBOX_TESTS_SUPPORT_ALLOCATION_COUNT_HPP
#define HF_SANDBOX_TESTS_SUPPORT_ALLOCATION_COUNT_HPP

#include <atomic>
#include <cstddef>

namespace hf::testing_support {

/// Bytes that this program has allocated with `new` and not yet given back, and the most that it
/// ever were since `reset`. Counted where allocation_count.cpp is linked in and no sanitizer has
/// the allocator.
struct allocation_count {
  static inline std::atomic<std::size_t> live{0};
  static inline std::atomic<std::size_t> peak{0};
  static void reset() noexcept { peak = live.load(); }
  static void add(std::size_t size) noexcept {
    auto const now = live += size;
    for (auto most = peak.load(); now > most && !peak.compare_exchange_weak(most, now);) {
    }
  }
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool allocations_are_counted = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool allocations_are_counted = false;
#define HF_SANDBOX_TESTS_SANITIZED 1
#else
inline constexpr bool allocations_are_counted = true;
#endif
#else
inline constexpr bool allocations_are_counted = true;
#endif

}  // namespace hf::testing_support

#endif
