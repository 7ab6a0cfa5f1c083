// A user's program with the core alone: nlohmann/json and OpenSSL, no HTTP library.
#include <hf/sandbox/core.hpp>

#include <cstdio>

#if defined(HF_SANDBOX_AGENT_PATH)
#include <hf/sandbox/agent/locate.hpp>
#endif

#if !defined(CONSUMER_OF_A_TRANSPORT) && \
    (defined(BOOST_VERSION) || defined(CURLINC_CURL_H) || defined(CPPHTTPLIB_HTTPLIB_H))
#error "the core reaches an HTTP library"
#endif

int main() {
  std::error_code const code = hf::errc::unsupported;
  std::printf("hf_sandbox %s: %s\n", HF_SANDBOX_VERSION_STRING, code.message().c_str());
#if defined(HF_SANDBOX_AGENT_PATH)
  // The agent of the package, where no variable names another one.
  return hf::locate_agent() == HF_SANDBOX_AGENT_PATH ? 0 : 1;
#else
  return 0;
#endif
}
