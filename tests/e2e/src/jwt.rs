//! JSON Web Tokens (RFC 7519) of a key pair that a test makes (EdDSA, RFC 8037).

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};

/// A key that signs tokens.
pub struct TokenKey(KeyPair);

impl TokenKey {
    pub fn generate() -> Result<Self> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// The set of its public half alone (RFC 7517).
    pub fn key_set(&self) -> Value {
        let public = BASE64_URL_SAFE_NO_PAD.encode(self.0.public_key_raw());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "test", "x": public }] })
    }

    /// A token about this user that ends so many seconds from now, or before.
    pub fn token(&self, issuer: &str, audience: &str, user: &str, ends_in: i64) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
        let header = json!({ "alg": "EdDSA", "kid": "test", "typ": "JWT" });
        let claims = json!({ "iss": issuer, "aud": audience, "sub": user, "exp": now + ends_in });
        let text = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = self.0.sign(text.as_bytes())?;
        Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}
