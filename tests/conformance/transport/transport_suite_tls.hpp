#ifndef HF_SANDBOX_TESTING_CONFORMANCE_TRANSPORT_SUITE_TLS_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_TRANSPORT_SUITE_TLS_HPP

#include "suite/tls.hpp"
#include "transport_suite.hpp"

/// The TLS behaviours for one transport, beside `HF_SANDBOX_TRANSPORT_SUITE`. Certificates are made
/// on the spot with OpenSSL (libssl and libcrypto).
#define HF_SANDBOX_TRANSPORT_SUITE_TLS(name, ...)                     \
  [[maybe_unused]] static bool const hf_sandbox_transport_suite_tls = \
      ::hf::conformance::register_behaviours(name,                    \
                                             ::hf::conformance::tls_behaviours<__VA_ARGS__>())

#endif
