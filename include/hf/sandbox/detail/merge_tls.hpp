#ifndef HF_SANDBOX_DETAIL_MERGE_TLS_HPP
#define HF_SANDBOX_DETAIL_MERGE_TLS_HPP

#include <hf/sandbox/http/request.hpp>

namespace hf::detail {

/// A request's TLS settings over those of the transport.
template <class = void>
[[nodiscard]] http::tls_settings merge_tls(http::tls_settings const& request,
                                           http::tls_settings const& own) {
  auto out = own;
  if (!request.ca_file.empty() || !request.ca_path.empty()) {
    out.ca_file = request.ca_file;
    out.ca_path = request.ca_path;
  }
  if (!request.cert_file.empty()) {
    out.cert_file = request.cert_file;
    out.key_file = request.key_file;
  }
  return out;
}

}  // namespace hf::detail

#endif
