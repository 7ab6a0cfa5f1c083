#include "support/allocation_count.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(HF_SANDBOX_TESTS_SANITIZED)

using hf::testing_support::allocation_count;

// The other forms of `new` and `delete` call these.
void* operator new(std::size_t size) {
  void* const p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr)
    throw std::bad_alloc();
  allocation_count::add(::malloc_usable_size(p));
  return p;
}
void operator delete(void* p) noexcept {
  if (p != nullptr)
    allocation_count::live -= ::malloc_usable_size(p);
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  operator delete(p);
}

#endif
