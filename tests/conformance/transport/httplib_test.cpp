#if defined(HF_SANDBOX_HAS_HTTPLIB)
#include "transport_suite.hpp"
#include "transport_suite_tls.hpp"

#include <hf/sandbox/transports/httplib.hpp>

HF_SANDBOX_TRANSPORT_SUITE("httplib", hf::httplib_transport);
HF_SANDBOX_TRANSPORT_SUITE_TLS("httplib", hf::httplib_transport);
#endif
