//! The authority of a test's certificates, which issues and revokes as a test wants it.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use x509_parser::{extensions::ParsedExtension, pem::parse_x509_pem};

/// Days from now; below 0, ago.
pub type Days = Range<i64>;

/// As long as nothing is the matter.
pub const FINE: Days = -1..365;

/// An authority that `scripts/pki.sh` made.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key_id: Vec<u8>,
    pki: PathBuf,
}

fn day(days: i64) -> SystemTime {
    let off = Duration::from_secs(days.unsigned_abs() * 86_400);
    if days < 0 { SystemTime::now() - off } else { SystemTime::now() + off }
}

impl Authority {
    /// The one in the folder `pki`.
    #[must_use]
    pub fn of(pki: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(pki.join(name)).expect(name);
        let key = KeyPair::from_pem(&text("ca.key")).expect("a key");
        let certificate = text("ca.crt");
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).expect("an authority");
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).expect("PEM");
        let certificate = pem.parse_x509().expect("a certificate");
        let key_id = certificate.iter_extensions().find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        Self { issuer, key_id: key_id.expect("a key identifier"), pki: pki.into() }
    }

    /// A certificate that replaces `name.crt` and `name.key` in `folder`; its serial number.
    pub fn issue(&self, folder: &Path, name: &str, days: Days) -> SerialNumber {
        self.issue_for(folder, name, days, &["localhost", "127.0.0.1"])
    }

    /// As [`Self::issue`], for a server under these names.
    pub fn issue_for(&self, folder: &Path, name: &str, days: Days, hosts: &[&str]) -> SerialNumber {
        let hosts: Vec<_> = hosts.iter().map(|&h| h.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = day(days.start).into();
        params.not_after = day(days.end).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let serial = SerialNumber::from(u64::from(rand::random::<u32>()) + 1);
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).expect("written");
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("written");
        serial
    }

    /// A list of revoked certificates at `path`, in PEM, or in DER where the name ends in `.der`.
    pub fn revoke(&self, path: &Path, serials: &[SerialNumber], days: Days) {
        let revoked = |serial: &SerialNumber| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: day(days.start).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: day(days.start).into(),
            next_update: day(days.end).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_id.clone()),
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        let bytes = match path.extension() {
            Some(extension) if extension == "der" => list.der().to_vec(),
            _ => list.pem().expect("PEM").into_bytes(),
        };
        fs::write(path, bytes).expect("written");
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.pki.join("ca.crt")
    }
}
