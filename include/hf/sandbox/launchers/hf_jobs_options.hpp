#ifndef HF_SANDBOX_LAUNCHERS_HF_JOBS_OPTIONS_HPP
#define HF_SANDBOX_LAUNCHERS_HF_JOBS_OPTIONS_HPP

#include <hf/sandbox/agent/agent_source.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/hub/environment.hpp>
#include <hf/sandbox/hub/retry.hpp>

#include <string>

namespace hf {

/// Settings of the launcher for Hugging Face Jobs; every field may stay empty.
struct hf_jobs_options {
  /// Access token; empty: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, else the file that `hf auth login`
  /// writes. Looked up anew for every call, so that a rotated token is noticed.
  std::string token = {};
  /// The Hub's base URL; empty: `HF_ENDPOINT`, else "https://huggingface.co". Must be https, http
  /// only on the loopback interface.
  std::string endpoint = {};
  /// Account or organisation of ids without one, of `list`, and of jobs whose launch options name
  /// none; empty: the token's own.
  std::string name_space = {};
  /// Where jobs get the agent from.
  agent_source agent = {};
  /// Sends two anonymous usage events per sandbox (create, terminate); see docs/hugging-face.md for
  /// what they say. `HF_HUB_DISABLE_TELEMETRY`, `DO_NOT_TRACK`, `DISABLE_TELEMETRY` and
  /// `HF_HUB_OFFLINE` switch them off too.
  bool telemetry = true;
  /// How calls to the Hub are repeated.
  hub::retry_policy retries = {};
  /// TLS settings for the Hub and the Jobs proxy; empty fields: the transport's own.
  http::tls_settings tls = {};
  /// Where environment variables are read from; empty: the environment of this process.
  hub::environment env = {};
};

}  // namespace hf

#endif
