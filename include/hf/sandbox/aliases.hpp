#ifndef HF_SANDBOX_ALIASES_HPP
#define HF_SANDBOX_ALIASES_HPP

#include <hf/sandbox/basic_client.hpp>
#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/hf_jobs.hpp>
#include <hf/sandbox/process.hpp>
#include <hf/sandbox/transports/curl.hpp>

namespace hf {

/// A sandbox on Hugging Face Jobs, reached through libcurl.
using sandbox = basic_sandbox<curl_transport, hf_jobs_launcher>;
/// What several `hf::sandbox` objects share.
using client = basic_client<curl_transport, hf_jobs_launcher>;
/// A background process of an `hf::sandbox`.
using process = basic_process<curl_transport>;

}  // namespace hf

#endif
