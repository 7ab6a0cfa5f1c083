#ifndef HF_SANDBOX_AGENT_CONFINE_SECCOMP_FILTER_HPP
#define HF_SANDBOX_AGENT_CONFINE_SECCOMP_FILTER_HPP

#include <linux/filter.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace hf::agent::confine {

/// A seccomp filter under construction: everything is allowed that no rule denies. Programs of a
/// foreign architecture (32 bit on 64 bit) are killed, x32 calls do not exist.
class seccomp_filter {
 public:
  seccomp_filter();

  /// Whether filters can be built for this architecture at all.
  [[nodiscard]] static bool supported();

  /// The call fails with this error number.
  void deny(std::initializer_list<long> calls, int error);
  /// The call fails unless the low half of its argument is one of the values.
  void allow_only(long call, unsigned argument, std::initializer_list<std::uint32_t> values,
                  int error);
  /// The call fails when the low half of its argument is one of the values.
  void deny_values(long call, unsigned argument, std::initializer_list<std::uint32_t> values,
                   int error);
  /// The call fails when its argument has one of the bits.
  void deny_bits(long call, unsigned argument, std::uint32_t bits, int error);
  /// The call fails when the masked argument has this value.
  void deny_masked(long call, unsigned argument, std::uint32_t mask, std::uint32_t value,
                   int error);
  /// Where the argument `where` has the value `is`: the call fails unless the low half of
  /// `argument` is `value`.
  void allow_only_where(long call, unsigned where, std::uint32_t is, unsigned argument,
                        std::uint32_t value, int error);
  /// Where the argument `where` has one of the bits: the call fails when `argument` has one of
  /// `bits`.
  void deny_bits_where(long call, unsigned where, std::uint32_t has, unsigned argument,
                       std::uint32_t bits, int error);
  /// The call fails unless its process argument is 0 (the caller) or its pointer argument is null.
  void deny_changing_others(long call, unsigned process, unsigned pointer, int error);

  /// The finished program.
  [[nodiscard]] std::vector<sock_filter> finish() const;
  /// Puts the filter on this thread and all that comes from it; returns 0 or an error number.
  [[nodiscard]] static int install(std::vector<sock_filter> const& program) noexcept;

 private:
  void for_call(long call, std::vector<sock_filter> const& body);

  std::vector<sock_filter> code_;
};

}  // namespace hf::agent::confine

#endif
