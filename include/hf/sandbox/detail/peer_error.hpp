#ifndef HF_SANDBOX_DETAIL_PEER_ERROR_HPP
#define HF_SANDBOX_DETAIL_PEER_ERROR_HPP

#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/error.hpp>

#include <string>
#include <utility>

namespace hf::detail {

/// A transport's failure as it may be shown: it may quote what it could not read, and with it what
/// the peer repeated of the request. `before` begins the sentence.
[[nodiscard]] inline error peer_error(error const& failure, secret_list const& secrets,
                                      std::string before = {}) {
  auto details = failure.details();
  details.request_id = peer_text(details.request_id, secrets, 200);
  details.stage = peer_text(details.stage, secrets, 100);
  return error(failure.kind(), std::move(before) + peer_text(failure.what(), secrets, 2000),
               std::move(details));
}

}  // namespace hf::detail

#endif
