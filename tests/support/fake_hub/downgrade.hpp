#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_DOWNGRADE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_DOWNGRADE_HPP

#include "support/fake_hub/connection.hpp"

#include <string>

namespace hf::testing_support::fake {

// Makes an agent of ours look like one that speaks only the common protocol: nothing of what it
// adds goes in or comes out.

/// Whether the common protocol has this route.
bool is_common_route(request const& rq);
/// Whether the body of this request has to be taken back.
bool has_command(request const& rq);
/// A command's body without the additions.
std::string common_request_body(std::string const& body);
/// A health answer or an error without the additions.
std::string common_answer_body(std::string const& body);

}  // namespace hf::testing_support::fake

#endif
