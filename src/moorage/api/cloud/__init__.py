"""The provider's API: what customers, their SDKs and Terraform order and run registries with."""
