#include "confine/seccomp_filter.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace hf::agent::confine {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t native = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t native = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t native = 0;
#endif

sock_filter load(std::size_t offset) {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)};
}
// Both architectures are little-endian: the low half comes first.
sock_filter load_argument(unsigned index) {
  return load(offsetof(seccomp_data, args) + index * sizeof(std::uint64_t));
}
sock_filter load_high_half(unsigned index) {
  return load(offsetof(seccomp_data, args) + index * sizeof(std::uint64_t) + sizeof(std::uint32_t));
}
sock_filter load_call() {
  return load(offsetof(seccomp_data, nr));
}
sock_filter answer(std::uint32_t value) {
  return {BPF_RET | BPF_K, 0, 0, value};
}
sock_filter fail(int error) {
  return answer(SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA));
}
sock_filter jump(unsigned short test, std::uint32_t value, std::size_t if_true,
                 std::size_t if_false) {
  return {static_cast<unsigned short>(BPF_JMP | test | BPF_K), static_cast<std::uint8_t>(if_true),
          static_cast<std::uint8_t>(if_false), value};
}

}  // namespace

bool seccomp_filter::supported() {
  return native != 0;
}

seccomp_filter::seccomp_filter() {
  code_.push_back(load(offsetof(seccomp_data, arch)));
  code_.push_back(jump(BPF_JEQ, native, 1, 0));
  code_.push_back(answer(SECCOMP_RET_KILL_PROCESS));
  code_.push_back(load_call());
#if defined(__x86_64__)
  constexpr std::uint32_t x32_bit = 0x40000000;
  code_.push_back(jump(BPF_JGE, x32_bit, 0, 1));
  code_.push_back(fail(ENOSYS));
#endif
}

void seccomp_filter::for_call(long call, std::vector<sock_filter> const& body) {
  code_.push_back(jump(BPF_JEQ, static_cast<std::uint32_t>(call), 0, body.size() + 1));
  code_.insert(code_.end(), body.begin(), body.end());
  code_.push_back(load_call());
}

void seccomp_filter::deny(std::initializer_list<long> calls, int error) {
  for (long const call : calls) {
    code_.push_back(jump(BPF_JEQ, static_cast<std::uint32_t>(call), 0, 1));
    code_.push_back(fail(error));
  }
}

void seccomp_filter::allow_only(long call, unsigned argument,
                                std::initializer_list<std::uint32_t> values, int error) {
  std::vector<sock_filter> body{load_argument(argument)};
  std::size_t left = values.size();
  for (std::uint32_t const value : values)
    body.push_back(jump(BPF_JEQ, value, left--, 0));
  body.push_back(fail(error));
  for_call(call, body);
}

void seccomp_filter::deny_values(long call, unsigned argument,
                                 std::initializer_list<std::uint32_t> values, int error) {
  std::vector<sock_filter> body{load_argument(argument)};
  for (std::uint32_t const value : values) {
    body.push_back(jump(BPF_JEQ, value, 0, 1));
    body.push_back(fail(error));
  }
  for_call(call, body);
}

void seccomp_filter::deny_bits(long call, unsigned argument, std::uint32_t bits, int error) {
  for_call(call, {load_argument(argument), jump(BPF_JSET, bits, 0, 1), fail(error)});
}

void seccomp_filter::deny_masked(long call, unsigned argument, std::uint32_t mask,
                                 std::uint32_t value, int error) {
  for_call(call, {load_argument(argument),
                  {BPF_ALU | BPF_AND | BPF_K, 0, 0, mask},
                  jump(BPF_JEQ, value, 0, 1),
                  fail(error)});
}

void seccomp_filter::allow_only_where(long call, unsigned where, std::uint32_t is,
                                      unsigned argument, std::uint32_t value, int error) {
  for_call(call, {load_argument(where), jump(BPF_JEQ, is, 0, 3), load_argument(argument),
                  jump(BPF_JEQ, value, 1, 0), fail(error)});
}

void seccomp_filter::deny_bits_where(long call, unsigned where, std::uint32_t has,
                                     unsigned argument, std::uint32_t bits, int error) {
  for_call(call, {load_argument(where), jump(BPF_JSET, has, 0, 3), load_argument(argument),
                  jump(BPF_JSET, bits, 0, 1), fail(error)});
}

void seccomp_filter::deny_changing_others(long call, unsigned process, unsigned pointer,
                                          int error) {
  for_call(call,
           {load_argument(process), jump(BPF_JEQ, 0, 5, 0), load_argument(pointer),
            jump(BPF_JEQ, 0, 0, 2), load_high_half(pointer), jump(BPF_JEQ, 0, 1, 0), fail(error)});
}

std::vector<sock_filter> seccomp_filter::finish() const {
  auto program = code_;
  program.push_back(answer(SECCOMP_RET_ALLOW));
  return program;
}

int seccomp_filter::install(std::vector<sock_filter> const& program) noexcept {
  sock_fprog const compiled{static_cast<unsigned short>(program.size()),
                            const_cast<sock_filter*>(program.data())};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &compiled) == 0 ? 0 : errno;
}

}  // namespace hf::agent::confine
