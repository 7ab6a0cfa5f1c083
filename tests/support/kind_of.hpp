#ifndef HF_SANDBOX_TESTS_SUPPORT_KIND_OF_HPP
#define HF_SANDBOX_TESTS_SUPPORT_KIND_OF_HPP

#include <hf/sandbox/error.hpp>

#include <catch2/catch_message.hpp>

#include <utility>

namespace hf::testing_support {

/// The code of the hf::error that `call` throws; `errc{}` when it throws none.
template <class Call>
errc kind_of(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (error const& e) {
    UNSCOPED_INFO(e.what());
    return e.kind();
  }
  return errc{};
}

}  // namespace hf::testing_support

#endif
