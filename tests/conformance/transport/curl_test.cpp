#include "transport_suite.hpp"
#include "transport_suite_tls.hpp"

#include <hf/sandbox/transports/curl.hpp>

HF_SANDBOX_TRANSPORT_SUITE("curl", hf::curl_transport);
HF_SANDBOX_TRANSPORT_SUITE_TLS("curl", hf::curl_transport);
