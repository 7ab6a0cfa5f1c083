#ifndef HF_SANDBOX_TESTING_CONFORMANCE_TRANSPORT_SUITE_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_TRANSPORT_SUITE_HPP

#include "suite/answers.hpp"
#include "suite/behaviour.hpp"
#include "suite/bulk.hpp"
#include "suite/case_limit.hpp"
#include "suite/clocks.hpp"
#include "suite/connections.hpp"
#include "suite/failures.hpp"
#include "suite/proxies.hpp"
#include "suite/requests.hpp"

#include <hf/sandbox/http/transport.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/internal/catch_test_registry.hpp>

#include <string>

namespace hf::conformance {

/// Runs one behaviour within the limit of a case.
class limited_behaviour : public Catch::ITestInvoker {
 public:
  explicit limited_behaviour(behaviour b) : behaviour_(b) {}
  void invoke() const override {
    case_limit const limit(behaviour_.name, case_limit::standard());
    behaviour_.run();
  }

 private:
  behaviour behaviour_;
};

inline bool register_behaviours(std::string const& name, behaviours const& list) {
  for (auto const& b : list) {
    auto const full_name = name + ": " + b.name;
    auto const tags = "[conformance][" + name + "]";
    Catch::AutoReg(Catch::Detail::make_unique<limited_behaviour>(b), CATCH_INTERNAL_LINEINFO,
                   Catch::StringRef(), Catch::NameAndTags{full_name, tags});
  }
  return true;
}

/// Registers the behaviours that need nothing but sockets.
template <transport T>
bool register_transport(std::string const& name) {
  return register_behaviours(name, answer_behaviours<T>()) &&
         register_behaviours(name, request_behaviours<T>()) &&
         register_behaviours(name, connection_behaviours<T>()) &&
         register_behaviours(name, failure_behaviours<T>()) &&
         register_behaviours(name, clock_behaviours<T>()) &&
         register_behaviours(name, proxy_behaviours<T>()) &&
         register_behaviours(name, bulk_behaviours<T>());
}

}  // namespace hf::conformance

/// The conformance suite for one default-constructible transport: put this at namespace scope in a
/// source file of a Catch2 (>= 3.4) test program. Every rule of `hf::transport` becomes test cases
/// named "<name>: <behaviour>". The servers run in the test process, on the loopback interface; the
/// transport's `traits` say what it refuses. Include `transport_suite_tls.hpp` as well for TLS.
#define HF_SANDBOX_TRANSPORT_SUITE(name, ...)                     \
  [[maybe_unused]] static bool const hf_sandbox_transport_suite = \
      ::hf::conformance::register_transport<__VA_ARGS__>(name)

#endif
