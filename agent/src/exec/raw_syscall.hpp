#ifndef HF_SANDBOX_AGENT_EXEC_RAW_SYSCALL_HPP
#define HF_SANDBOX_AGENT_EXEC_RAW_SYSCALL_HPP

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

// Code that runs in a process which shares the agent's memory must not be instrumented, and must
// not reach libc's errno, which lives in the agent's thread.
#if defined(__SANITIZE_THREAD__)
#define HF_AGENT_FORK_ONLY 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HF_AGENT_FORK_ONLY 1
#endif
#endif
#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(HF_AGENT_FORK_ONLY)
#define HF_AGENT_FORK_ONLY 1
#endif

#define HF_AGENT_BARE \
  __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

namespace hf::agent {

#ifdef SYS_close_range
inline constexpr long close_range_number = SYS_close_range;
#else
inline constexpr long close_range_number = 436;
#endif

/// CLOSE_RANGE_UNSHARE
inline constexpr long close_range_unshare = 2;

/// A system call without libc's wrapper; errors are negative numbers.
HF_AGENT_BARE inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                                      long e = 0) noexcept {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                   : "memory", "cc");
  return x0;
#else
  long const result = ::syscall(number, a, b, c, d, e);
  return result < 0 ? -errno : result;
#endif
}

template <class T>
HF_AGENT_BARE inline long raw_pointer(T* pointer) noexcept {
  return reinterpret_cast<long>(pointer);
}

}  // namespace hf::agent

#endif
